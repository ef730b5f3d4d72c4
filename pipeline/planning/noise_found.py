"""What noise an image has, whether any of it can be removed, and how far that is to be trusted."""

from __future__ import annotations

import math

import numpy as np

from glassplate.models.noise.description import NoiseDescription, describe_noise
from glassplate.models.noise.estimate import ROUNDING, estimate_noise
from glassplate.models.noise.model import NoiseModel, NoiseSettings
from glassplate.pipeline.recipes.recipe import Recipe
from glassplate.pipeline.scaling import Sample
from glassplate.pipeline.sources.source import Source, SourceSpec

# Times its usual variance that rounding has in the flat squares of smooth pictures, where its steps are edges
# (1.3 to 1.7 measured).
MOST_ROUNDING = 2.0
# Mean count of photons in a pixel up to which counts are not taken for a picture without noise.
MOST_COUNTS = 2.0


def noise_of(samples: list[Sample], recipe: Recipe, spec: SourceSpec, exponent: int) -> NoiseModel:
    """Estimate or take the noise as the recipe says; samples are in source units over ``2**exponent``."""
    if not recipe.traits.measures:
        return NoiseModel(floor=0.0, slope=0.0, lag1=0.0, correlated=False, origin="not needed")
    if spec.exposures:
        # the recipe states the noise of one exposure, not of their mean
        return estimate_noise(samples, NoiseSettings(correlation=recipe.noise.correlation))
    return estimate_noise(samples, recipe.noise.scaled(-exponent))


def noise_found(
    samples: list[Sample], noise: NoiseModel, source: Source
) -> NoiseDescription | None:
    """Describe the noise; None where nothing of it was estimated."""
    if "estimated" not in noise.origin:
        return None
    levels = "levels" if source.dtype.kind in "iu" else ""
    return describe_noise(samples, noise, source.unit or levels)


def is_removable(
    samples: list[Sample], found: NoiseDescription, quantum: float, pedestal: float
) -> bool:
    """Whether there is noise that could be removed: in whole numbers, more than that of rounding.

    `quantum` is the step between whole numbers, and 0 for floats; `pedestal` has been taken off the values.
    """
    if found.grows or found.sigma**2 > MOST_ROUNDING * ROUNDING * quantum**2:
        return True
    pixels = np.concatenate([np.abs(values[valid]) for values, valid in samples])
    # counts of a few photons are whole numbers, and noise all the same
    return not pedestal and found.sigma > 0 and float(pixels.mean()) < MOST_COUNTS * quantum


def warnings_about(found: NoiseDescription, exponent: int, removes_nothing: bool) -> list[str]:
    """One line where nothing can be removed, or where what is removed may be detail; else none.

    `found` is in source units over ``2**exponent``, the warning in source units.
    """
    sigma = math.ldexp(found.sigma, exponent)
    if removes_nothing:
        return [
            "no noise was found that could be removed (in flat places a standard deviation of "
            f"{sigma:.2g}, where rounding to whole numbers has 0.29 to 0.4): pixels are copied as they are; "
            "give noise.sigma to remove noise of that standard deviation"
        ]
    if found.confidence == "low":
        return [
            f"the noise is not surely known: {found.flat:.1%} of the image shows little but noise, so that "
            f"its standard deviation of {sigma:.3g} may be fine detail; check it with 'glassplate assess' "
            "or give noise.sigma"
        ]
    return []
