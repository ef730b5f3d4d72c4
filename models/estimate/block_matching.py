"""Find the blocks of an image that are most similar to each of its blocks on a grid."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F

# Blocks of the grid that are compared with one stretch of columns: more compare more columns that no block
# of theirs can reach, fewer make matrices so narrow that their product is slow.
TOGETHER = 8
# Rounding of a squared difference, as a share of the distance that still counts as similar, up to which
# single precision does. They are differences of large squares, so that a bright star needs double precision.
MOST_ROUNDING = 0.01


class Search(NamedTuple):
    """Where a block looks for others."""

    side: int
    """Of the square blocks, pixels; even."""
    reach: int
    """Largest shift along each axis, pixels."""
    most: int
    """Blocks that are found for each; fewer in an image that has not so many."""
    every_other: bool = False
    """Whether only every other block of the grid looks for others, as the dark squares of a chessboard, and
    those at the borders, so that each pixel is still in a block."""

    @property
    def step(self) -> int:
        """Distance of the blocks that look for others, pixels: half a block."""
        return self.side // 2

    @property
    def width(self) -> int:
        """Number of shifts along an axis."""
        return 2 * self.reach + 1


class Nearest(NamedTuple):
    """The most similar blocks of each block on the grid, nearest first; both (n, most)."""

    corners: torch.Tensor
    """Flat indices of their first pixels into (B, h, w)."""
    distances: torch.Tensor
    """Mean squared differences of their pixels; -1 for the block itself, which is the first, inf where the
    image has no more blocks."""


def nearest_blocks(image: torch.Tensor, search: Search, similar: float) -> Nearest:
    """Find the most similar blocks of every block whose corner is on a grid of half a block.

    The squared difference of two blocks is ``|a|^2 + |b|^2 - 2 a b``, of which the last part, almost all of
    the work, is a product of matrices. Strips of half a block are multiplied, so that each serves the two
    rows of blocks that share it.

    Parameters
    ----------
    image
        (B, C, h, w), h and w a block and whole steps.
    search
        Where to look.
    similar
        Mean squared difference that must be told from larger ones.

    Returns
    -------
    Nearest
        The blocks of the grid in reading order, one image after another.
    """
    b, c, h, w = image.shape
    precise = image.double()
    precise = precise - precise.mean((2, 3), keepdim=True)
    rounding = precise.square().amax() * torch.finfo(image.dtype).eps
    image = precise if rounding > MOST_ROUNDING * similar else precise.to(image.dtype)
    # blocks within reach of a corner of the image
    fewest = math.prod(min(search.reach, size - search.side) + 1 for size in (h, w))
    most = min(search.most, fewest)
    own = search.reach * search.width + search.reach
    grid = ((h - search.side) // search.step + 1, (w - search.side) // search.step + 1)
    first = torch.arange(b, device=image.device).view(-1, 1, 1) * (h * w)
    found = []
    for row, squares in enumerate(_squared_differences(image, search)):
        places = _places(row, grid, search).to(image.device)  # (n,)
        distance = squares.index_select(1, places) / (c * search.side**2)  # (B, n, shifts)
        # each block is its own nearest, so that all pixels are covered
        distance[..., own] = -1
        nearest = distance.topk(most, largest=False, sorted=True)
        # right before down, as the shifts are laid out
        dx = nearest.indices // search.width - search.reach
        dy = nearest.indices % search.width - search.reach
        x = places[:, None] * search.step + dx
        found.append((first + (row * search.step + dy) * w + x, nearest.values))  # (B, n, most)
    corners, distances = (torch.cat(rows, 1).flatten(0, 1) for rows in zip(*found, strict=True))
    return Nearest(corners, distances.to(torch.float32))


def _places(row: int, grid: tuple[int, int], search: Search) -> torch.Tensor:
    """Columns on the grid of the blocks in a row that look for others, (n,)."""
    rows, columns = grid
    place = torch.arange(columns)
    if not search.every_other or row in (0, rows - 1):
        return place
    return place[((place + row) % 2 == 0) | (place == 0) | (place == columns - 1)]


def _squared_differences(image: torch.Tensor, search: Search) -> Iterator[torch.Tensor]:
    """Yield for each row of blocks the sums of squared differences, (B, n, shifts right x shifts down)."""
    *_, h, w = image.shape
    side, step, reach, width = search.side, search.step, search.reach, search.width
    norms = F.avg_pool2d(image.square().sum(1, keepdim=True), side, 1) * side**2
    # blocks beyond the border are infinitely far, (B, h - side + 1 + 2 reach, w - side + 1 + 2 reach)
    norms = F.pad(norms, (reach,) * 4, value=math.inf)[:, 0]
    # strips beyond the border are multiplied too, as zeros, and columns up to a whole number of stretches
    count = (w - side) // step + 1
    stretches = -(-count // TOGETHER)
    missing = (stretches * TOGETHER - count) * step
    wide = F.pad(image, (reach, reach + missing, reach, reach))
    right = norms.unfold(2, width, step)  # (B, rows, n, shifts right)
    of_own = norms[:, reach : h - side + 1 + reach : step, reach : w - side + 1 + reach : step]
    above: torch.Tensor | None = None
    for strip in range(0, h - step + 1, step):
        products = _products(wide, strip, stretches, search)[:, :count]
        if above is not None:
            row = strip // step - 1
            there = right[:, row * step : row * step + width]  # (B, shifts down, n, shifts right)
            squares = there.permute(0, 2, 3, 1) - 2 * (above + products)
            yield (squares + of_own[:, row, :, None, None]).flatten(2)
        above = products


def _products(wide: torch.Tensor, strip: int, stretches: int, search: Search) -> torch.Tensor:
    """Inner products of a row's strips with those at all shifts, (B, n, shifts right, shifts down)."""
    b = len(wide)
    side, step, reach, width = search.side, search.step, search.reach, search.width
    rows = wide[:, :, strip : strip + width + step - 1]
    # (B, columns, shifts down, C x step x side), so that a stretch of columns is one matrix
    pieces = rows.unfold(2, step, 1).unfold(3, side, 1).permute(0, 3, 2, 1, 4, 5)
    length = TOGETHER * step
    columns, k = pieces.shape[1], pieces.shape[3:].numel()
    pieces = pieces.reshape(b, columns, width, k)
    own = pieces[:, reach : reach + stretches * length : step, reach]
    own = own.reshape(b * stretches, TOGETHER, k).mT
    reached = length - step + width  # columns that the blocks of a stretch reach
    stride = columns * width * k
    there = pieces.as_strided(
        (b, stretches, reached * width, k), (stride, length * width * k, k, 1)
    ).flatten(0, 1)
    products = torch.bmm(there, own)  # (B x stretches, reached x width, TOGETHER)
    # of each block, the columns that begin at its own
    return products.as_strided(
        (b, stretches, TOGETHER, width, width),
        (
            stretches * reached * width * TOGETHER,
            reached * width * TOGETHER,
            1 + step * width * TOGETHER,
            width * TOGETHER,
            TOGETHER,
        ),
    ).reshape(b, stretches * TOGETHER, width, width)
