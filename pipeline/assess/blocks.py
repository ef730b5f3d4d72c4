"""Cells in which a result is read, and blocks over which its pixels are averaged.

All blocks begin at multiples of their side and cells hold whole blocks, so that no figure depends on the
cells.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.tile_grid import Box

FloatArray = npt.NDArray[np.float64]

# Side of the blocks of a background and of the pairs of neighbours, pixels: as SExtractor's default, a few
# stars wide.
BLOCK = 64
# Side of a cell, pixels, a multiple of every block: some twenty arrays of 8 MiB for each channel.
CELL = 1024
# Sampled blocks along an axis: a thousand of them give a median to a few hundredths of their scatter.
SAMPLED_PER_AXIS = 32


def cells(shape: tuple[int, int, int], side: int | None = None) -> Iterator[Box]:
    """Cut an image ``(c, y, x)`` into cells."""
    side = side or CELL
    _, height, width = shape
    for y in range(0, height, side):
        for x in range(0, width, side):
            yield Box(y, min(y + side, height), x, min(x + side, width))


def sampled_blocks(shape: tuple[int, int, int], side: int = BLOCK) -> Iterator[Box]:
    """Blocks spread evenly over an image, at most `SAMPLED_PER_AXIS` along an axis; those of a small one."""
    _, height, width = shape
    for row in _spread(-(-height // side)):
        for col in _spread(-(-width // side)):
            y, x = row * side, col * side
            yield Box(y, min(y + side, height), x, min(x + side, width))


def _spread(count: int) -> list[int]:
    taken = min(count, SAMPLED_PER_AXIS)
    return [(2 * i + 1) * count // (2 * taken) for i in range(taken)]


def in_blocks(values: FloatArray, side: int) -> FloatArray:
    """Pixels of the blocks of ``(c, h, w)``, ``(c, rows, cols, side * side)``; NaN beyond the image's end."""
    c, h, w = values.shape
    rows, cols = -(-h // side), -(-w // side)
    whole = np.full((c, rows * side, cols * side), np.nan)
    whole[:, :h, :w] = values
    blocks = whole.reshape(c, rows, side, cols, side).swapaxes(2, 3)
    return blocks.reshape(c, rows, cols, side * side)


def block_means(values: FloatArray, side: int, least: float = 0.5) -> FloatArray:
    """Mean of the pixels of each block that are no NaN, ``(c, rows, cols)``.

    NaN where fewer than a share of `least` of the block's pixels are numbers.
    """
    blocks = in_blocks(values, side)
    known = np.isfinite(blocks)
    count = known.sum(-1)
    sums = np.where(known, blocks, 0).sum(-1)
    enough = count >= max(1.0, least * side * side)
    return np.where(enough, sums / np.maximum(count, 1), np.nan)


def repeated(means: FloatArray, side: int, shape: tuple[int, int]) -> FloatArray:
    """The value of its block at each pixel, ``(c, h, w)``."""
    return means.repeat(side, 1).repeat(side, 2)[:, : shape[0], : shape[1]]
