"""Coarser levels of the pyramid: each pixel is the mean of the valid ones of the 2x2 pixels below it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.store.layout import Layout, Shard, row_strips
from glassplate.pipeline.store.ome_zarr import open_array
from glassplate.pipeline.tile_grid import Box


def halve(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Average squares of 2x2 pixels.

    Parameters
    ----------
    pixels
        ``(c, h, w)``. NaN is left out of the mean. If a size is odd, the last squares are smaller.

    Returns
    -------
    halved
        ``(c, ceil(h / 2), ceil(w / 2))``, same dtype. NaN where all pixels of a square are NaN. Integers are
        rounded to the nearest, ties to even.
    """
    c, h, w = pixels.shape
    if h % 2 or w % 2 or (pixels.dtype.kind == "f" and not np.isfinite(pixels).all()):
        padded = np.full((c, h + h % 2, w + w % 2), np.nan)
        padded[:, :h, :w] = pixels
        known = np.isfinite(padded)
        total, count = _sum_of_squares(np.where(known, padded, 0)), _sum_of_squares(known)
        mean = np.full(total.shape, np.nan)
        np.divide(total, count, out=mean, where=count > 0)
    else:
        mean = _sum_of_squares(pixels) / 4
    return (np.rint(mean) if pixels.dtype.kind in "ui" else mean).astype(pixels.dtype)


def _sum_of_squares(pixels: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Add up squares of 2x2 pixels, always in the same order, so that both callers round alike."""
    rows = pixels[:, ::2].astype(np.float64)
    rows += pixels[:, 1::2]
    return np.asarray(rows[:, :, ::2] + rows[:, :, 1::2])


def write_level_shard(store: Path, layout: Layout, level: int, shard: Shard) -> None:
    """Make a shard of a level from the level below it, strip by strip, and write it once."""
    below, here = open_array(store, str(level - 1)), open_array(store, str(level))
    _, height, width = layout.level_shape(level - 1)
    channels = shard.channels[1] - shard.channels[0]
    pixels = np.empty((channels, *shard.box.shape), layout.dtype)
    for strip in row_strips(shard.box, layout.chunk):
        finer = Box(strip.y0 * 2, min(strip.y1 * 2, height), strip.x0 * 2, min(strip.x1 * 2, width))
        values = np.asarray(below[layout.index(shard.channels, finer)])
        pixels[(slice(None), *strip.relative_to(shard.box).slices)] = halve(
            values.reshape(channels, *finer.shape)
        )
    here[layout.index(shard.channels, shard.box)] = pixels.reshape(
        pixels.shape[-layout.ndim :] if layout.ndim == 3 else shard.box.shape
    )
