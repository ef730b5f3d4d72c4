"""Find an image's wild pixels, and the power of two that brings its unit near 1, before anything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from glassplate.pipeline.defects.wild_pixels import DEAD, HOT, WildLimits, borders, wild_limits
from glassplate.pipeline.open_source import SourceFiles
from glassplate.pipeline.recipes.recipe import Recipe
from glassplate.pipeline.scaling import Sample
from glassplate.pipeline.source_findings import NOTHING_FOUND, SourceFindings
from glassplate.pipeline.sources.sample_windows import sample, sample_windows
from glassplate.pipeline.sources.source import Source
from glassplate.pipeline.sources.units import unit_exponent


def find_value_range(
    files: SourceFiles, recipe: Recipe, findings: SourceFindings = NOTHING_FOUND
) -> tuple[SourceFindings, list[str]]:
    """Add to the findings the limits of wild pixels and the exponent of the unit; and warnings about them.

    Integers of formats other than FITS have no wild pixels: each value is a brightness that a photograph
    can have.

    Raises
    ------
    SourceError
        If no pixel of the image is valid, or the image cannot be read.
    """
    if not recipe.traits.measures or files.spec.overlay is not None:
        return findings, []
    # the variance is in the square of the unit, which may not fit into float32 before it is scaled
    sources = [files.source(findings, without=("variance",)), *files.exposures()]
    exponent, limits, warnings = _limits(sources)
    return replace(findings, exponent=exponent, limits=limits), warnings


def _limits(
    sources: Sequence[Source],
) -> tuple[int, tuple[WildLimits | None, ...], list[str]]:
    """Exponent of the unit, limits of each source (empty if nothing is wild), and warnings."""
    limits: list[WildLimits | None] = []
    warnings: list[str] = []
    exponent = 0
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
            exponent = unit_exponent(samples)
        limits.append(found)
    # every exposure is read in the unit of the first
    read = tuple(one and one.read_with(exponent) for one in limits)
    return exponent, read if any(read) else (), warnings


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
        f"{source.spec.path}: {wild} of {valid_pixels} pixels looked at ({100 * wild / valid_pixels:.2g} %) "
        f"are wild and taken for invalid: further than {limits.far:.3g} from the sky of {limits.sky:.4g}"
    )
    if limits.sigma:
        high, low = limits.sky + HOT * limits.sigma, limits.sky - DEAD * limits.sigma
        line += f", or above {high:.4g} or below {low:.4g} and sharper than any star"
    return kept, [f"{line}; the result has no value there unless the recipe fills what is missing"]
