"""Blend weights and the one combination rule.

Along an axis, the weight of a window is 1 inside its core and falls to 0 across each inner edge of the core
as a raised cosine. The weights of all windows are divided by their sum, so that they add up to 1 at every
pixel. The weight of a pixel is the product of the weights along both axes. The outermost pixels of a window,
the least reliable ones of a fit, have weight 0 unless the window ends with the image.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.tile_grid import Axis, Box

FloatArray = npt.NDArray[np.float64]

# Share of the halo that has weight 0, since the outer pixels of a fit see reflected context.
# A quarter of a halo of 32 is 8 pixels, the reach of the two finest scales of the network. Of one of 16
# it is 4, and the errors at the edges of tiles are the same (docs/design/023-level-and-donor.md).
MARGIN = 0.25


@dataclass(frozen=True)
class Piece:
    """A restored window, or the part of it that touches a region."""

    box: Box
    """Where it lies in the output."""
    values: npt.NDArray[np.floating]
    """``(c, h, w)``, source units, finite."""
    weight_y: FloatArray
    """``(h,)`` blend weights of its rows."""
    weight_x: FloatArray
    """``(w,)`` blend weights of its columns."""


def ramp_half_width(axis: Axis) -> float:
    """Half the width of the transition at an edge between cores, in pixels of the source."""
    margin = max(1, round(MARGIN * axis.halo)) if axis.halo else 0
    return float(axis.halo - margin)


def _raw_weight(axis: Axis, k: int, scale: int) -> FloatArray:
    """Weight of window `k` at its own pixels, before the division by the sum."""
    start, stop = axis.window_bounds(k)
    a, b = axis.core_bounds(k)
    half = ramp_half_width(axis)
    # pixel centres of the output grid, in pixels of the source
    t = start + (np.arange((stop - start) * scale) + 0.5) / scale
    weight = np.ones_like(t)
    if a > 0:
        weight *= _rise(t - a, half)
    if b < axis.size:
        weight *= _rise(b - t, half)
    return weight


def _rise(distance: FloatArray, half: float) -> FloatArray:
    """Raised cosine from 0 at ``-half`` to 1 at ``half``; a step where there is no halo."""
    if half <= 0:
        return (distance > 0).astype(np.float64)
    return np.asarray(0.5 * (1 + np.sin(0.5 * np.pi * np.clip(distance / half, -1, 1))))


@lru_cache(maxsize=4096)
def axis_weight(axis: Axis, k: int, scale: int = 1) -> FloatArray:
    """Blend weight of window `k` along an axis, on a grid `scale` times finer than the source.

    Returns
    -------
    weight
        ``(window_length * scale,)`` float64, read-only; over all windows they sum to 1 at each pixel.
    """
    start, stop = axis.window_bounds(k)
    total = np.zeros((stop - start) * scale)
    for other in axis.touching(start, stop):
        first, last = axis.window_bounds(other)
        low, high = max(first, start), min(last, stop)
        total[(low - start) * scale : (high - start) * scale] += _raw_weight(axis, other, scale)[
            (low - first) * scale : (high - first) * scale
        ]
    weight = _raw_weight(axis, k, scale) / total
    weight.setflags(write=False)
    return weight


def blend(
    box: Box, channels: int, pieces: Iterable[Piece]
) -> tuple[FloatArray, npt.NDArray[np.float32]]:
    """Blend restored windows into a region: the only rule by which pixels are combined.

    Parameters
    ----------
    box
        Output region.
    channels
        Number of channels of every piece.
    pieces
        Windows that touch the region, in a fixed order; a quarantined tile has none.

    Returns
    -------
    image
        ``(channels, h, w)`` float64; NaN where no piece has weight.
    footprint
        ``(h, w)`` float32 in [0, 1]: summed weight of the pieces.
    """
    total = np.zeros((channels, *box.shape))
    footprint = np.zeros(box.shape)
    for piece in pieces:
        common = piece.box.intersection(box)
        if common is None:
            continue
        inner = common.relative_to(piece.box).slices
        outer = common.relative_to(box).slices
        weight = piece.weight_y[inner[0], None] * piece.weight_x[None, inner[1]]
        footprint[outer] += weight
        total[(slice(None), *outer)] += weight * piece.values[(slice(None), *inner)]
    covered = footprint > 0
    image = np.full_like(total, np.nan)
    np.divide(total, footprint, out=image, where=covered)
    # rounding errors must not show as missing coverage
    rounded = np.where(np.abs(footprint - 1) < 1e-9, 1.0, footprint)
    return image, rounded.astype(np.float32)
