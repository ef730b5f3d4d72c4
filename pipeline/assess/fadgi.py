"""Measures of the FADGI technical guidelines, as far as an image and its restoration show them.

The guidelines (Federal Agencies Digital Guidelines Initiative, "Technical Guidelines for Digitizing Cultural
Heritage Materials") judge a digitisation by targets of known tone, colour, edges and length. Without a target
nothing is known of the distance to the original: what is computed here is what the restoration changed, and
what it left. A programme adds the change to what its targets measured. The levels that the guidelines demand
depend on the material and the edition, and are not repeated here.
"""

from __future__ import annotations

from dataclasses import dataclass

from glassplate.pipeline.assess.edges import Edges
from glassplate.pipeline.assess.photograph import Colour, PatchNoise, Photograph


@dataclass(frozen=True)
class FadgiRow:
    """One measure of the guidelines."""

    measure: str
    """Its name there."""
    quantity: str
    """What is given here."""
    unit: str
    before: float | None
    """In the input; None where only the change is known, or the image has nothing that shows it."""
    after: float | None
    """In the result."""
    change: float | None
    """From input to result; None where the image has nothing that shows it, and for measures of which
    nothing can be known without a target."""
    needs: str | None
    """Target without which the measure itself is unknown; None if input and result alone show it."""


def fadgi_rows(photograph: Photograph) -> tuple[FadgiRow, ...]:
    """The table of a photograph: the same rows for each."""
    return (
        *_computed(photograph),
        *(
            FadgiRow(measure, quantity, unit, None, None, None, target)
            for measure, quantity, unit, target in _NOT_COMPUTED
        ),
    )


# Measures about which input and result say nothing at all.
_NOT_COMPUTED = (
    ("sampling frequency", "pixels of a known length", "%", "a ruler"),
    ("reproduction scale", "length of the original", "%", "a ruler"),
    ("illuminance non-uniformity", "evenness of L*", "L*", "an even sheet"),
    (
        "colour misregistration",
        "red and blue from green edges",
        "pixels",
        "slanted edges",
    ),
    ("spatial frequency response", "frequency at 10 % contrast", "cycles/pixel", "slanted edges"),
)


def _computed(photograph: Photograph) -> list[FadgiRow]:
    """Rows of which input and result show something."""
    tone, colour = photograph.tone, photograph.colour
    shifts = [abs(band.shift) for band in tone.bands if band.shift is not None]
    grey, patches = "grey patches", "colour patches"
    return [
        _changed("tone response", "mean L* of blocks", "L*", tone.shift, grey),
        _changed("tone response", "L* of the most changed tone", "L*", max(shifts), grey),
        _changed(
            "colour accuracy", "mean CIEDE2000 of blocks", "dE2000", colour.mean_difference, patches
        ),
        _changed(
            "colour accuracy", "CIEDE2000 of a block", "dE2000", colour.largest_difference, patches
        ),
        *_of_white(colour),
        *_of_noise_and_edges(photograph.noise, photograph.edges),
    ]


def _of_white(colour: Colour) -> list[FadgiRow]:
    before = colour.neutral_before or (None, None)
    after = colour.neutral_after or (None, None)
    return [
        _compared(
            "white balance", f"{name} of nearly neutral blocks", name, one, other, "a neutral patch"
        )
        for name, one, other in zip(("a*", "b*"), before, after, strict=True)
    ]


def _of_noise_and_edges(noise: PatchNoise | None, edges: Edges | None) -> list[FadgiRow]:
    def pair(found: object, name: str) -> tuple[float | None, float | None]:
        first, second = (f"{name}before", f"{name}after")
        return getattr(found, first, None), getattr(found, second, None)

    height = "of the edge"
    return [
        _compared("noise", "deviation of L* in flat patches", "L*", *pair(noise, "")),
        _compared("sharpening", "overshoot of edges", height, *pair(edges, "overshoot_")),
        _compared("sharpening", "undershoot of edges", height, *pair(edges, "undershoot_")),
        _compared(
            "spatial frequency response",
            "rise of edges, 10 to 90 %",
            "pixels",
            *pair(edges, "rise_"),
            needs="slanted edges",
        ),
    ]


def _changed(measure: str, quantity: str, unit: str, change: float, needs: str) -> FadgiRow:
    return FadgiRow(measure, quantity, unit, None, None, change, needs)


def _compared(
    measure: str,
    quantity: str,
    unit: str,
    before: float | None,
    after: float | None,
    needs: str | None = None,
) -> FadgiRow:
    change = None if before is None or after is None else float(f"{after - before:.4g}")
    return FadgiRow(measure, quantity, unit, before, after, change, needs)
