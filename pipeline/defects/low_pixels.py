"""Dead pixels and columns, blocks and borders without data: far below everything around them.

A detector has no light below its sky, so that what lies far under it is a fault, whatever its value. To a
search for cosmic rays the good neighbours of such a pixel look like rays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from glassplate.models.noise.model import NoiseModel
from glassplate.pipeline.defects.medians import MAD_TO_SIGMA, BoolArray, FloatArray, median
from glassplate.pipeline.defects.short_runs import Heights, Sharpness, sharp_runs
from glassplate.pipeline.defects.wild_pixels import varying
from glassplate.pipeline.scaling import Sample

if TYPE_CHECKING:
    from glassplate.pipeline.defects.cosmic_rays import Detector

# Standard deviations of the noise, or of the surroundings where these scatter more, by which a pixel lies
# below the median around it, or below the darkest part of the image (docs/design/014-wild-pixels.md).
DEPTH = 10.0
# Half-width of that median, pixels: it does not see a column of up to four pixels' width.
RADIUS = 4
# And what is low ends at once: beside it pixels are lower than usual by a third of its depth at most. Where a
# galaxy or a gradient without noise falls off, they are nearly as low.
SHARP = Sharpness(narrow=RADIUS, even=RADIUS, share=1 / 3)
# Pixels around a region on which it depends what is low in it: the median, that of what differs from it, the
# longest run and its neighbour.
REACH = 2 * RADIUS + SHARP.narrow + 1
# Share of the level above the sky by which a pixel must be lower, too: beside and between bright stars the
# median is theirs, and the sky far below it.
SHADE = 1.0
# Side of the squares in which the level of the dark parts is taken, pixels: a gradient is small in them.
# Percentiles between which it lies, and share of a square that must be of the scene. Below them as many times
# their distance as SPREAD says may be of the scene.
SQUARE, DARK, SPREAD, LEAST_SHARE = 32, (25.0, 75.0), 2.0, 0.25


def low_level(samples: Sequence[Sample], noise: NoiseModel, quantum: float) -> float:
    """Value below which there is no light in any part of an image; minus infinity where that is not known.

    It tells blocks and borders that are wider than the median around a pixel.
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
    """Lowest level of a square that may be of the scene, of each plane that shows enough of it."""
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
        ``(h, w)`` float32, and where it says something.
    detector
        Of the image.

    Returns
    -------
    ``(h, w)``, True only where valid.
    """
    lowest = valid & (values < detector.low)
    level = median(np.where(valid & ~lowest, values, np.nan), RADIUS)
    noise = np.sqrt(detector.noise.variance(level) + (detector.quantum / 2) ** 2)
    # NaN where nothing around says anything
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
