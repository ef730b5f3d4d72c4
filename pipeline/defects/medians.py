"""Sliding medians that ignore NaN, and binary dilation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]

# Median absolute deviation to standard deviation, for a normal distribution.
MAD_TO_SIGMA = 1.4826
# Rows of a sliding median that are computed at once: each is copied as many times as the window is long.
BAND = 64


def median(values: FloatArray, radius: int) -> FloatArray:
    """Median along columns, then along rows, of ``2 radius + 1`` pixels; NaN is ignored.

    Beyond the border the image is reflected. The result is NaN where the window holds only NaN.
    """
    return _median_of_rows(_median_of_rows(values.T, radius).T, radius)


def _median_of_rows(values: FloatArray, radius: int) -> FloatArray:
    result = np.empty(values.shape, np.float32)
    for start in range(0, len(values), BAND):
        rows = values[start : start + BAND]
        wide = np.pad(rows, ((0, 0), (radius, radius)), mode="symmetric")
        windows = sliding_window_view(wide, 2 * radius + 1, axis=1)  # (rows, w, 2 r + 1)
        result[start : start + BAND] = _median_last(windows)
    return result


def _median_last(windows: FloatArray) -> FloatArray:
    """Median over the last axis without NaN; the lower of the middle two where the count is even."""
    ordered = np.sort(windows, axis=-1)  # NaN last
    count = np.isfinite(ordered).sum(-1, keepdims=True)
    middle = np.maximum(count - 1, 0) // 2
    return np.take_along_axis(ordered, middle, -1)[..., 0]


def dilate(found: BoolArray, radius: int) -> BoolArray:
    """Binary dilation by a square of ``2 radius + 1`` pixels."""
    if radius == 0:
        return found
    wide = np.pad(found, radius)
    rows = sliding_window_view(wide, 2 * radius + 1, axis=0).any(-1)
    return np.asarray(sliding_window_view(rows, 2 * radius + 1, axis=1).any(-1))
