"""Find an image's wild pixels, its pedestal, and the power of two that brings its unit near 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from glassplate.models.noise.estimate import difference_sigma
from glassplate.pipeline.defects.wild_pixels import DEAD, HOT, WildLimits, borders, wild_limits
from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.open_source import SourceFiles
from glassplate.pipeline.recipes.recipe import Recipe
from glassplate.pipeline.scaling import Sample
from glassplate.pipeline.source_findings import NOTHING_FOUND, SourceFindings
from glassplate.pipeline.sources.metadata.units import MOST_LEVEL, pedestal_of, unit_exponent
from glassplate.pipeline.sources.sample_windows import sample, sample_windows
from glassplate.pipeline.sources.source import Source
from glassplate.pipeline.tile_grid import Box

# Variances are stated in source units: float64 holds the square of 2**448, and of values 2**64 times larger.
MOST_EXPONENT = 448
# Integers of float64: of larger ones, neighbours become the same number.
MOST_INTEGER = 2**53
# Pixels that are read at once to look at all of them.
BAND_PIXELS = 1 << 20


def find_value_range(
    files: SourceFiles, recipe: Recipe, findings: SourceFindings = NOTHING_FOUND
) -> tuple[SourceFindings, list[str]]:
    """Add to the findings the limits of wild pixels and the exponent of the unit; and warnings about them.

    Integers of formats other than FITS have no wild pixels: each value is a brightness that a photograph
    can have.

    Raises
    ------
    SourceError
        If no pixel of the image is valid, the image cannot be read, or float64 does not hold its integers or
        the squares of its values.
    UsageError
        If the recipe takes a level far above its noise for a count of photons.
    """
    for source in (files.image, *files.exposures()):
        _check_integers(source)
    if not recipe.traits.measures or files.spec.overlay is not None:
        return findings, []
    # the variance is in the square of the unit, which may not fit into float32 before it is scaled
    sources = [files.source(findings, without=("variance",)), *files.exposures(findings)]
    found, warnings = _findings(sources, fits=recipe.traits.fits)
    if found.pedestal and (recipe.noise.gain is not None or recipe.noise.model == "poisson"):
        raise UsageError(
            f"{files.spec.path}: its level of {found.pedestal:.4g} is more than {MOST_LEVEL:.0f} times "
            "its noise, so that it is no count of photons; leave out noise.gain and noise.model=poisson"
        )
    return replace(found, unused=findings.unused), warnings


def _findings(sources: Sequence[Source], *, fits: bool) -> tuple[SourceFindings, list[str]]:
    limits: list[WildLimits | None] = []
    warnings: list[str] = []
    exponent, pedestal = 0, 0.0
    for place, source in enumerate(sources):
        if source.format != "fits" and source.dtype.kind != "f":
            limits.append(None)
            continue
        samples = sample(source)
        found = wild_limits(
            samples, sharp=source.format == "fits", quantum=float(source.dtype.kind != "f")
        )
        if found is not None:
            samples, lines = _without_wild(source, samples, found)
            warnings += lines
        if place == 0:
            # what is copied needs no float32
            if fits and source.output_dtype == np.float64:
                pedestal = pedestal_of(samples, difference_sigma(samples), source.dtype)
            exponent = unit_exponent([(v - pedestal, ok) for v, ok in samples])
            _check_exponent(source, exponent)
        limits.append(found)
    # every exposure is read in the unit of the first
    read = tuple(one and one.read_with(exponent, pedestal) for one in limits)
    return SourceFindings(exponent, pedestal, read if any(read) else ()), warnings


def says_wild(warning: str, path: Path, count: int) -> bool:
    """Whether a warning of a plan says that so many wild pixels were found in the image of this path."""
    return warning.startswith(_wild_count(path, count))


def _wild_count(path: Path, count: int) -> str:
    """Return the beginning of the warning of wild pixels."""
    return f"{path}: wild, and taken for invalid: {count} of "


def _check_integers(source: Source) -> None:
    """Refuse integers of 64 bits that float64 does not hold, looking at every pixel.

    Raises
    ------
    SourceError
    """
    if source.dtype.kind == "f" or source.dtype.itemsize < 8:
        return
    planes, height, width = source.shape
    rows = max(1, BAND_PIXELS // width)
    for plane in range(planes):
        for y in range(0, height, rows):
            pixels = source.read(Box(y, min(y + rows, height), 0, width), (plane, plane + 1))
            largest = float(np.abs(pixels.values[pixels.valid]).max(initial=0))
            if largest >= MOST_INTEGER:
                raise SourceError(
                    f"{source.spec.path}: holds integers of {largest:.6g}, and beyond 2**53 not each of them "
                    "is a float64; subtract their offset, and save it again"
                )


def _check_exponent(source: Source, exponent: int) -> None:
    """Refuse values whose squares float64 does not hold.

    Raises
    ------
    SourceError
    """
    if abs(exponent) > MOST_EXPONENT:
        raise SourceError(
            f"{source.spec.path}: its values are around 2**{exponent}, and must be between "
            f"2**-{MOST_EXPONENT} and 2**{MOST_EXPONENT}; multiply them by a constant"
        )


def _without_wild(
    source: Source, samples: Sequence[Sample], limits: WildLimits
) -> tuple[list[Sample], list[str]]:
    """Mark wild pixels of the samples as invalid; and a warning if there are any."""
    kept: list[Sample] = []
    wild = valid_pixels = 0
    for (box, _), (values, valid) in zip(sample_windows(source), samples, strict=True):
        whole = borders(box, source.shape)
        found = np.stack([limits.find(*plane, whole) for plane in zip(values, valid, strict=True)])
        kept.append((values, valid & ~found))
        wild, valid_pixels = wild + int(found.sum()), valid_pixels + int(valid.sum())
    if not wild:
        return list(samples), []
    line = (
        f"{_wild_count(source.spec.path, wild)}{valid_pixels} pixels looked at "
        f"({100 * wild / valid_pixels:.2g} %), further than {limits.far:.3g} from the sky of {limits.sky:.4g}"
    )
    if limits.sigma:
        high, low = limits.sky + HOT * limits.sigma, limits.sky - DEAD * limits.sigma
        line += f", or above {high:.4g} or below {low:.4g} and sharper than any star"
    return kept, [f"{line}; the result has no value there unless the recipe fills what is missing"]
