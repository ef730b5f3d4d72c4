"""Sliding medians that ignore NaN, lowest values around pixels, and binary dilation."""

from __future__ import annotations

from collections.abc import Callable

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
    return _of_rows(_of_rows(values.T, radius, _reflected).T, radius, _reflected)


def continued_median(values: FloatArray, radius: int) -> FloatArray:
    """Median along columns, then along rows, of ``2 radius + 1`` pixels, as if what is cut went on.

    Seen from the pixel, NaN and what is beyond the border have the value of the last pixel before them. So
    an object that is cut there is not narrower than it is along the cut. The result is NaN where the pixel
    is.
    """
    known = np.isfinite(values)
    columns = np.where(known, _of_rows(values.T, radius, _continued).T, np.float32(np.nan))
    return np.where(known, _of_rows(columns, radius, _continued), np.float32(np.nan))


def _of_rows(
    values: FloatArray, radius: int, windows: Callable[[FloatArray, int], FloatArray]
) -> FloatArray:
    result = np.empty(values.shape, np.float32)
    for start in range(0, len(values), BAND):
        rows = values[start : start + BAND]
        result[start : start + BAND] = _median_last(windows(rows, radius))  # of (rows, w, 2 r + 1)
    return result


def _reflected(rows: FloatArray, radius: int) -> FloatArray:
    wide = np.pad(rows, ((0, 0), (radius, radius)), mode="symmetric")
    return sliding_window_view(wide, 2 * radius + 1, axis=1)


def _continued(rows: FloatArray, radius: int) -> FloatArray:
    wide = np.pad(rows, ((0, 0), (radius, radius)), constant_values=np.nan)
    ahead, behind = _last_known(wide), _last_known(wide[:, ::-1])[:, ::-1]
    middle = wide.shape[1] - radius
    return np.concatenate(
        [
            sliding_window_view(behind[:, : middle - 1], radius, axis=1),
            sliding_window_view(ahead[:, radius:], radius + 1, axis=1),
        ],
        axis=-1,
    )


def _last_known(rows: FloatArray) -> FloatArray:
    """Each value, or the last finite one before it."""
    place = np.where(np.isfinite(rows), np.arange(rows.shape[1]), 0)
    return np.take_along_axis(rows, np.maximum.accumulate(place, axis=1), axis=1)


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


def lowest_around(values: FloatArray, radius: int) -> FloatArray:
    """Lowest value of the square of ``2 radius + 1`` pixels around each pixel."""
    wide = np.pad(values, radius, constant_values=np.inf)
    rows = sliding_window_view(wide, 2 * radius + 1, axis=0).min(-1)
    return np.asarray(sliding_window_view(rows, 2 * radius + 1, axis=1).min(-1))
