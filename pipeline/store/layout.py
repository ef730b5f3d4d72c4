"""Shapes, pixel types and shards of the arrays of a result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.tile_grid import Box

# Pixel type of the residual by the bytes of an integer pixel. It needs one bit more than the image, so that
# input = restored + residual.
RESIDUAL_DTYPES = {1: "int16", 2: "int32", 4: "int64", 8: "int64"}


@dataclass(frozen=True)
class Shard:
    """A region of a level that one task writes at once."""

    index: int
    channels: tuple[int, int]
    group: int
    """Number of its channel group."""
    box: Box
    """In pixels of the level."""


@dataclass(frozen=True)
class Layout:
    """Shapes and types of the arrays of a result."""

    source_shape: tuple[int, int, int]
    """``(c, y, x)`` of the input, alpha included."""
    ndim: Literal[2, 3]
    """Axes of the stored image: 2 if the input has no channel axis."""
    joint: bool
    """Whether the channels are restored together and stored in one shard."""
    scale: int
    dtype: str
    """Pixel type of the result."""
    chunk: int
    """Side in pixels."""
    max_shard: int
    """Largest side in pixels."""
    fills: bool = False
    """Whether the recipe fills invalid pixels. Then the array ``filled`` marks them."""
    uncertain: bool = False
    """Whether the result has the array ``uncertainty``."""
    mixes: bool = False
    """Whether the forward operator mixes pixels. It always does if the scale is not 1."""
    alpha: bool = False
    """Whether the last plane is alpha, which is not restored."""
    colours: int = 1
    """Planes that are restored together where not all are joint."""

    def __post_init__(self) -> None:
        if self.chunk % self.scale:
            raise UsageError(
                f"output.chunk {self.chunk} is no multiple of the scale {self.scale}; "
                f"take {self.chunk // self.scale * self.scale + self.scale}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(c, y, x)`` of level 0."""
        c, y, x = self.source_shape
        return c, y * self.scale, x * self.scale

    def restored(self, channels: tuple[int, int]) -> tuple[int, int]:
        """Limit a range of planes to the restored ones, without alpha, which is the last plane."""
        last = self.source_shape[0] - self.alpha
        return min(channels[0], last), min(channels[1], last)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape of level 0 as stored, without the channel axis if the source has none."""
        return self.shape[-self.ndim :]

    @property
    def residual_dtype(self) -> str:
        """Pixel type of the residual: float32 if the operator mixes pixels and so gives no integers."""
        dtype = np.dtype(self.dtype)
        if dtype.kind == "f" or self.mixes or self.scale > 1:
            return "float32"
        return RESIDUAL_DTYPES[dtype.itemsize]

    @property
    def shard_side(self) -> int:
        """Side of the shards: a multiple of the chunk, no larger than level 0 needs."""
        wanted = max(1, self.max_shard // self.chunk)
        needed = -(-max(self.shape[1:]) // self.chunk)
        return min(wanted, needed) * self.chunk

    @property
    def levels(self) -> int:
        """Number of levels of the pyramid. The last one fits into one chunk."""
        count, side = 1, max(self.shape[1:])
        while side > self.chunk:
            side, count = -(-side // 2), count + 1
        return count

    def level_shape(self, level: int) -> tuple[int, int, int]:
        """Return ``(c, y, x)`` of a level. Odd sizes are rounded up."""
        c, y, x = self.shape
        return c, -(-y // 2**level), -(-x // 2**level)

    def shards(self, level: int = 0) -> list[Shard]:
        """Return the shards of a level, whose regions partition it."""
        shape = self.level_shape(level)
        rows, cols = (range(0, size, self.shard_side) for size in shape[1:])
        step = shape[0] if self.joint else self.colours
        groups = [(c, c + step) for c in range(0, shape[0], step)]
        side = self.shard_side
        regions = [
            (group, channels, Box(y, min(y + side, shape[1]), x, min(x + side, shape[2])))
            for group, channels in enumerate(groups)
            for y in rows
            for x in cols
        ]
        return [Shard(i, channels, group, box) for i, (group, channels, box) in enumerate(regions)]

    def index(self, channels: tuple[int, int], box: Box) -> tuple[slice, ...]:
        """Return the index of a region in a stored array."""
        return (slice(*channels), *box.slices)[-self.ndim :]

    @property
    def uncompressed_bytes(self) -> int:
        """Bytes of all arrays of the result before compression."""
        pixels = int(np.prod(self.shape))
        image = pixels * np.dtype(self.dtype).itemsize
        residual = int(np.prod(self.source_shape)) * np.dtype(self.residual_dtype).itemsize
        return image * 4 // 3 + residual + pixels * (4 + self.fills + 4 * self.uncertain)


class ArrayLayout(NamedTuple):
    """Shape and type of one array of a result."""

    shape: tuple[int, int, int]
    """``(c, y, x)``."""
    dtype: str
    chunk: int
    """Side in pixels."""


def arrays_of(layout: Layout) -> dict[str, ArrayLayout]:
    """Return shape and type of every pixel array of a result by its name."""
    arrays = {
        str(level): ArrayLayout(layout.level_shape(level), layout.dtype, layout.chunk)
        for level in range(layout.levels)
    }
    arrays["residual"] = ArrayLayout(
        layout.source_shape, layout.residual_dtype, layout.chunk // layout.scale
    )
    arrays["footprint"] = ArrayLayout(layout.shape, "float32", layout.chunk)
    if layout.fills:
        arrays["filled"] = ArrayLayout(layout.shape, "uint8", layout.chunk)
    if layout.uncertain:
        arrays["uncertainty"] = ArrayLayout(layout.shape, "float32", layout.chunk)
    return arrays


def residual_box(box: Box, scale: int) -> Box:
    """Map a region of the output, which starts at a multiple of the scale, to the grid of the input."""
    return Box(box.y0 // scale, box.y1 // scale, box.x0 // scale, box.x1 // scale)


def row_strips(box: Box, height: int) -> list[Box]:
    """Cut a region into strips of at most `height` rows."""
    starts = range(box.y0, box.y1, height)
    return [Box(y, min(y + height, box.y1), box.x0, box.x1) for y in starts]
