"""Regions of an image that are worth a look at full resolution, chosen by what is in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.pages.shown_result import FloatArray
from glassplate.pipeline.tile_grid import Box

# Share of its pixels that must be valid for a cell to be shown where others are.
MOSTLY_VALID = 0.9


@dataclass(frozen=True)
class Region:
    """A box of the result's grid, and why it was chosen."""

    name: str
    box: Box


def choose_regions(
    overview: FloatArray,
    shape: tuple[int, int],
    side: int,
    maps: Mapping[str, npt.NDArray[np.float64]],
) -> list[Region]:
    """Choose regions that do not overlap: the flattest, that with most detail, and the tiles that stand out.

    Parameters
    ----------
    overview
        The image at a small size, ``(c, h, w)``; NaN is invalid.
    shape
        Height and width of the image at full size.
    side
        Height and width of a region in pixels of the full size, cut to the image.
    maps
        For each reason why a tile is worth a look, its value in each tile, ``(rows, columns)``: the tile of
        the largest is shown. Nothing is shown for a map of NaN.

    Returns
    -------
    regions
        At least one.
    """
    chosen: list[Region] = []
    ranked = {**_by_content(overview, shape, side), **_by_tiles(maps, shape, side)}
    for name, boxes in ranked.items():
        for box in boxes:
            if all(box.intersection(other.box) is None for other in chosen):
                chosen.append(Region(name, box))
                break
    return chosen or [Region("middle", _around(shape[0] // 2, shape[1] // 2, shape, side))]


def _by_content(
    overview: FloatArray, shape: tuple[int, int], side: int
) -> dict[str, Iterator[Box]]:
    """Cells by how flat they are, and by how much detail they have, the best first."""
    grey = overview.mean(0)
    rows, columns = (max(1, length // side) for length in shape)
    flatness = np.full((rows, columns), np.nan)
    for row in range(rows):
        for column in range(columns):
            cell = _cell(grey, row, column, (rows, columns))
            if np.isfinite(cell).mean() >= MOSTLY_VALID and min(cell.shape) > 1:
                steps = np.concatenate(
                    [np.diff(cell, axis=0).ravel(), np.diff(cell, axis=1).ravel()]
                )
                flatness[row, column] = -float(np.sqrt(np.nanmean(steps**2)))
    return {
        "flattest part": _from_largest(flatness, shape, side),
        "most detail": _from_largest(-flatness, shape, side),
    }


def _by_tiles(
    maps: Mapping[str, npt.NDArray[np.float64]], shape: tuple[int, int], side: int
) -> dict[str, Iterator[Box]]:
    return {name: _from_largest(values, shape, side) for name, values in maps.items()}


def _cell(
    grey: npt.NDArray[np.float64], row: int, column: int, count: tuple[int, int]
) -> npt.NDArray[np.float64]:
    (height, width), (rows, columns) = grey.shape, count
    return grey[
        height * row // rows : max(height * (row + 1) // rows, height * row // rows + 1),
        width * column // columns : max(
            width * (column + 1) // columns, width * column // columns + 1
        ),
    ]


def _from_largest(
    values: npt.NDArray[np.float64], shape: tuple[int, int], side: int
) -> Iterator[Box]:
    """Boxes around the cells of a grid over the image, that of the largest value first, without NaN."""
    rows, columns = values.shape
    flat = values.ravel()
    known = np.flatnonzero(np.isfinite(flat))
    for place in known[np.argsort(-flat[known], kind="stable")]:
        row, column = divmod(int(place), columns)
        y, x = (2 * row + 1) * shape[0] // (2 * rows), (2 * column + 1) * shape[1] // (2 * columns)
        yield _around(y, x, shape, side)


def _around(y: int, x: int, shape: tuple[int, int], side: int) -> Box:
    """A box around a pixel, wholly inside the image."""
    h, w = min(side, shape[0]), min(side, shape[1])
    top, left = min(max(y - h // 2, 0), shape[0] - h), min(max(x - w // 2, 0), shape[1] - w)
    return Box(top, top + h, left, left + w)
