"""The table of companions: every kind of file that may go with an image.

A new companion is a field of `SourceSpec`, an entry here with a module of its own beside it, a field of
`RunIdentity`, an option of the command line and a key of a job.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from glassplate.pipeline.companions.colour_hints import HintedSource, check_hints
from glassplate.pipeline.companions.exposures import check_exposure
from glassplate.pipeline.companions.guide import GuidedSource
from glassplate.pipeline.companions.mask import MaskedSource
from glassplate.pipeline.companions.same_grid import check_guide, check_same_grid
from glassplate.pipeline.companions.variance import UNIT_POWERS, VarianceSource
from glassplate.pipeline.companions.watermark import OverlayRemovedSource, check_overlay
from glassplate.pipeline.sources.metadata.units import scaled
from glassplate.pipeline.sources.source import Source, SourceSpec

Check = Callable[[Source, Source, str], None]
"""Refuses a companion that does not go with its image; the text, its role and name, begins the message."""
Join = Callable[[Source, Source, SourceSpec, int], Source]
"""Returns the image, whose values are divided by ``2**exponent``, wrapped with its companion."""


@dataclass(frozen=True)
class Companion:
    """One kind of file that goes with an image."""

    role: str
    """Field of `SourceSpec` and of the run's identity, and key of a job."""
    option: str
    """Option of the command line; `variance` has two more, `--sigma` and `--weight`."""
    check: Check | None
    """None where reading the companion is its check."""
    join: Join | None
    """None for a companion that does not wrap the image by itself."""
    drops_alpha: bool = False
    """Whether an alpha channel is ignored."""

    def label(self, spec: SourceSpec, named: object) -> str:
        """Role and name of the companion in messages: ``mask dq.fits[DQ]``."""
        words = {"variance": spec.noise_kind, "exposures": "exposure"}
        return f"{words.get(self.role, self.role)} {named}"


def _variance(image: Source, noise: Source, spec: SourceSpec, exponent: int) -> Source:
    kind = spec.noise_kind
    return VarianceSource(image, scaled(noise, UNIT_POWERS[kind] * exponent), kind)


COMPANIONS = (
    Companion(
        "mask",
        "--mask",
        check_same_grid,
        lambda image, mask, spec, _: MaskedSource(image, mask, spec.flags),
    ),
    Companion("variance", "--variance", check_same_grid, _variance),
    Companion(
        "guide",
        "--guide",
        check_guide,
        lambda image, guide, *_: GuidedSource(image, guide),
        drops_alpha=True,
    ),
    Companion(
        "overlay",
        "--overlay",
        check_overlay,
        lambda image, overlay, *_: OverlayRemovedSource(image, overlay),
    ),
    Companion("hints", "--hints", check_hints, lambda image, hints, *_: HintedSource(image, hints)),
    # combined by `CombinedSource` once planning has found how
    Companion("exposures", "--exposure", check_exposure, None, drops_alpha=True),
    # each goes with one of the exposures, and not with the image
    Companion("exposure_masks", "--exposure-mask", check_same_grid, None),
    # part of the forward operator, read as a whole by `read_psf`
    Companion("psf", "--psf", None, None),
)

BY_ROLE = {companion.role: companion for companion in COMPANIONS}
