"""Pixels that stand out from their neighbours: salt-and-pepper noise."""

from __future__ import annotations

import numpy as np

from glassplate.models.noise.spectra import FloatArray, Sample

# Standard deviations from the median of its neighbours beyond which a pixel is an impulse.
IMPULSE_SIGMA = 5.0
# Median absolute value of a normal variable, in standard deviations.
MEDIAN_ABSOLUTE = 0.67448975


def without_impulses(sample: Sample) -> Sample:
    """Mark the pixels that stand out from the median of their 3x3 neighbourhood as invalid."""
    values, valid = sample
    distance = np.abs(values - _median_of_nine(values))
    usual = float(np.median(distance[valid])) if valid.any() else 0.0
    return values, valid & (distance <= IMPULSE_SIGMA * usual / MEDIAN_ABSOLUTE)


def _median_of_nine(values: FloatArray) -> FloatArray:
    """Median of each pixel's 3x3 neighbourhood, borders repeated; (c, h, w) to the same."""
    wide = np.pad(values, ((0, 0), (1, 1), (1, 1)), "edge")
    views = np.lib.stride_tricks.sliding_window_view(wide, (3, 3), axis=(1, 2))  # (c, h, w, 3, 3)
    median: FloatArray = np.median(views.reshape(*values.shape, 9), axis=-1)
    return median
