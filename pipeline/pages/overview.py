"""The whole image at the size of a screen, before and after."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.pages.shown_result import FloatArray, ShownResult
from glassplate.pipeline.tile_grid import Box

# Longest side of the overview, pixels: it fills a screen.
SCREEN = 1600
# Pixels of the result, of all planes, up to which what was removed is read as a whole, so that the overview
# has a before: it takes a second. The mean of many pixels shows no noise anyway.
MOST_PIXELS = 1 << 26
# Rows that are read at once, as many as a chunk usually has.
BAND = 512


@dataclass(frozen=True, eq=False)
class Overview:
    """The image at a small size, ``(c, h, w)`` each, source units; NaN is invalid."""

    factor: int
    """Pixels of the result that are averaged to one, along an axis."""
    after: FloatArray
    before: FloatArray | None
    removed: FloatArray | None


def read_overview(shown: ShownResult) -> Overview:
    """Read the level of the pyramid that fills a screen, and what was removed if the image is not huge."""
    after, factor = read_level_of_screen(shown)
    removed = _removed(shown, factor)
    if removed is None or removed.shape != after.shape:
        return Overview(factor, after, None, None)
    return Overview(factor, after, after + removed, removed)


def read_level_of_screen(shown: ShownResult) -> tuple[FloatArray, int]:
    """The restored image ``(c, h, w)`` at the size of a screen, and the pixels averaged along an axis."""
    level = 0
    while level < shown.levels - 1 and max(shown.height, shown.width) > SCREEN << level:
        level += 1
    after, factor = shown.read_level(level), 2**level
    while max(after.shape[1:]) > SCREEN:
        after, factor = halved(after), 2 * factor
    return after, factor


def _removed(shown: ShownResult, factor: int) -> FloatArray | None:
    """Mean of what was removed in squares of `factor` pixels; None for huge images and other grids."""
    if not shown.same_grid or shown.height * shown.width * shown.shown_planes > MOST_PIXELS:
        return None
    step = -(-BAND // factor) * factor
    bands = []
    for y in range(0, shown.height, step):
        seen = shown.read(Box(y, min(y + step, shown.height), 0, shown.width)).removed
        if seen is None:
            return None
        reduced, side = seen, factor
        while side > 1:
            reduced, side = halved(reduced), side // 2
        bands.append(reduced)
    return np.concatenate(bands, 1)


def halved(values: FloatArray) -> FloatArray:
    """Mean of the known pixels of each 2x2 square of ``(c, h, w)``; odd sizes are rounded up."""
    c, h, w = values.shape
    room = np.full((c, h + h % 2, w + w % 2), np.nan)
    room[:, :h, :w] = values
    squares = room.reshape(c, room.shape[1] // 2, 2, room.shape[2] // 2, 2)
    known = np.isfinite(squares)
    count: npt.NDArray[np.int_] = known.sum((2, 4))
    total = np.where(known, squares, 0).sum((2, 4))
    means: FloatArray = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return means
