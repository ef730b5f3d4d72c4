"""Detection of dead pixels and columns, and of blocks and borders without data: values far below the scene.

A detector sees no light below the sky, so a value far below it is a fault. A search for cosmic rays would
take the good neighbours of such a pixel for rays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from glassplate.models.noise.model import NoiseModel
from glassplate.pipeline.defects.cosmic_ray_runs import Heights, Sharpness, sharp_runs
from glassplate.pipeline.defects.medians import MAD_TO_SIGMA, BoolArray, FloatArray, median
from glassplate.pipeline.defects.wild_pixels import varying
from glassplate.pipeline.scaling import Sample

if TYPE_CHECKING:
    from glassplate.pipeline.defects.cosmic_rays import Detector

# Standard deviations by which a low pixel lies below the median around it, or below the darkest part of the
# image: of the noise, or of the surroundings where they scatter more (docs/design/014-wild-pixels.md).
DEPTH = 10.0
# Half-width of that median in pixels: a column of up to four pixels' width does not affect it.
RADIUS = 4
# A run of low pixels has sharp ends: the pixels beside it are low by a third of its depth at most. Where a
# galaxy or a gradient without noise falls off, they are almost as low.
SHARP = Sharpness(narrow=RADIUS, even=RADIUS, share=1 / 3)
# Pixels around a region on which the low pixels in it depend: the median, the median of the deviations, the
# longest run and its neighbour.
REACH = 2 * RADIUS + SHARP.narrow + 1
# Share of the level above the sky by which a low pixel must be lower in addition: close to bright stars the
# median is that of the stars, and the sky lies far below it.
SHADE = 1.0
# The level of the dark parts is taken in squares of SQUARE pixels, in which a gradient is small and of which
# LEAST_SHARE must show the scene. Values down to SPREAD times the distance of the two percentiles DARK below
# the lower one may belong to the scene.
SQUARE, DARK, SPREAD, LEAST_SHARE = 32, (25.0, 75.0), 2.0, 0.25


def low_level(samples: Sequence[Sample], noise: NoiseModel, quantum: float) -> float:
    """Value below every part of the scene; minus infinity where it is not known.

    It finds blocks and borders that are wider than the median around a pixel.
    """
    dark: list[float] = []
    for values, valid in samples:
        scene = varying(values, valid)
        for y in range(0, values.shape[1], SQUARE):
            for x in range(0, values.shape[2], SQUARE):
                square = np.s_[:, y : y + SQUARE, x : x + SQUARE]
                dark += _dark_levels(values[square], scene[square])
    if not dark:
        return -math.inf
    variance = float(noise.variance(np.float64(min(dark))))
    if variance <= 0:
        return -math.inf
    return min(dark) - DEPTH * math.hypot(math.sqrt(variance), quantum / 2)


def _dark_levels(values: npt.NDArray[np.floating], scene: BoolArray) -> list[float]:
    """Lowest value of a square that may belong to the scene, for each plane that shows enough of it."""
    levels = []
    for plane, seen in zip(values, scene, strict=True):
        if seen.sum() > LEAST_SHARE * SQUARE**2:
            low, high = np.percentile(plane[seen].astype(np.float64), DARK)
            levels.append(float(low - SPREAD * (high - low)))
    return levels


def low_pixels(values: FloatArray, valid: BoolArray, detector: Detector) -> BoolArray:
    """Pixels far below the median around them, or below all of the image.

    Parameters
    ----------
    values, valid
        ``(h, w)`` float32, and where they are valid.
    detector
        Of the image.

    Returns
    -------
    ``(h, w)``, True only where valid.
    """
    lowest = valid & (values < detector.low)
    level = median(np.where(valid & ~lowest, values, np.nan), RADIUS)
    noise = np.sqrt(detector.noise.variance(level) + (detector.quantum / 2) ** 2)
    # NaN where no pixel around is valid
    depth = np.where(valid, level - values, np.nan)
    with np.errstate(invalid="ignore"):
        candidates = depth > DEPTH * noise
    if detector.noise.floor == detector.noise.slope == 0 or not candidates.any():
        return lowest
    scatter = MAD_TO_SIGMA * median(np.abs(depth), RADIUS)
    shade = SHADE * np.maximum(level - detector.sky, 0)
    least = np.hypot(DEPTH * np.fmax(noise, scatter), shade)
    heights = Heights(
        (depth / noise).astype(np.float64), candidates & (depth > least), np.isfinite(depth)
    )
    return lowest | sharp_runs(heights, SHARP, (False, False, False, False))
