"""Geometry of boxes and tiles, in whole pixels; intervals are half-open, and axes are ``(y, x)``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Box:
    """A half-open rectangle of pixels, ``y0 <= y < y1`` and ``x0 <= x < x1``."""

    y0: int
    y1: int
    x0: int
    x1: int

    def __post_init__(self) -> None:
        if not (0 <= self.y0 < self.y1 and 0 <= self.x0 < self.x1):
            raise ValueError(f"box {self} is empty or negative")

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def corner(self) -> tuple[int, int]:
        """Row and column of the first pixel."""
        return self.y0, self.x0

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of this box in a ``(y, x)`` array."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def scaled(self, factor: int) -> Box:
        """The same region on a grid that is `factor` times finer."""
        return Box(self.y0 * factor, self.y1 * factor, self.x0 * factor, self.x1 * factor)

    def intersection(self, other: Box) -> Box | None:
        """The pixels in both boxes; None where there are none."""
        y0, y1 = max(self.y0, other.y0), min(self.y1, other.y1)
        x0, x1 = max(self.x0, other.x0), min(self.x1, other.x1)
        return Box(y0, y1, x0, x1) if y0 < y1 and x0 < x1 else None

    def grown(self, margin: int, shape: tuple[int, int]) -> Box:
        """This box with `margin` more pixels on each side, clipped to an image of `shape`."""
        return Box(
            max(0, self.y0 - margin),
            min(shape[0], self.y1 + margin),
            max(0, self.x0 - margin),
            min(shape[1], self.x1 + margin),
        )

    def relative_to(self, other: Box) -> Box:
        """This box in the coordinates of `other`, which must contain it."""
        return Box(self.y0 - other.y0, self.y1 - other.y0, self.x0 - other.x0, self.x1 - other.x0)


@dataclass(frozen=True)
class Axis:
    """One image axis cut into cores, with the window around each.

    The cores partition the axis, and their lengths differ by at most one pixel. All windows have the same
    length, so that tiles can share buffers: near the border a window is shifted inwards, which gives it
    more context and not fewer pixels.
    """

    size: int
    core: int
    """Largest length of a core."""
    halo: int
    """Context on each side of a core."""

    def __post_init__(self) -> None:
        if self.size < 1 or self.core < 1 or self.halo < 0:
            raise ValueError(f"axis {self} needs size and core >= 1 and halo >= 0")

    @property
    def count(self) -> int:
        """Number of cores."""
        return -(-self.size // self.core)

    @property
    def window_length(self) -> int:
        """Length of every window."""
        return min(self.size, -(-self.size // self.count) + 2 * self.halo)

    def core_bounds(self, k: int) -> tuple[int, int]:
        """First pixel of core `k`, and one past its last."""
        return self.size * k // self.count, self.size * (k + 1) // self.count

    def window_bounds(self, k: int) -> tuple[int, int]:
        """First pixel of the window of core `k`, and one past its last."""
        length = self.window_length
        start = min(max(self.core_bounds(k)[0] - self.halo, 0), self.size - length)
        return start, start + length

    def touching(self, start: int, stop: int) -> range:
        """Cores whose window touches ``[start, stop)``, in order; at most two more cores may be included."""
        first = self.core_at(max(0, start - self.window_length))
        last = self.core_at(min(self.size - 1, stop - 1 + self.window_length))
        hits = [
            k
            for k in range(first, last + 1)
            if self.window_bounds(k)[0] < stop and self.window_bounds(k)[1] > start
        ]
        return range(hits[0], hits[-1] + 1)

    def core_at(self, pixel: int) -> int:
        """The core that owns a pixel."""
        return ((pixel + 1) * self.count - 1) // self.size


@dataclass(frozen=True)
class Tile:
    """One cell of the grid: it owns its core, and its window is read and restored."""

    index: int
    channels: tuple[int, int]
    """First channel that is fitted together with others, and one past the last."""
    row: int
    col: int
    core: Box
    window: Box


@dataclass(frozen=True)
class TileGrid:
    """All tiles of an image, numbered by channel group, row, column."""

    shape: tuple[int, int, int]
    """``(c, y, x)`` of the source."""
    joint: bool
    """Whether one network restores all channels; else each plane has its own."""
    core: int
    halo: int
    colours: int = 1
    """Planes that a network restores together where not all are joint: 3 for the pages of a colour scan."""

    def __post_init__(self) -> None:
        if self.shape[0] % self.colours:
            raise ValueError(f"{self.shape[0]} planes are no multiple of {self.colours} colours")

    @property
    def y(self) -> Axis:
        """The vertical axis."""
        return Axis(self.shape[1], self.core, self.halo)

    @property
    def x(self) -> Axis:
        """The horizontal axis."""
        return Axis(self.shape[2], self.core, self.halo)

    @property
    def groups(self) -> int:
        """Number of channel groups."""
        return 1 if self.joint else self.shape[0] // self.colours

    @property
    def dimensions(self) -> tuple[int, int, int]:
        """Channel groups, rows and columns of tiles."""
        return self.groups, self.y.count, self.x.count

    @property
    def window_shape(self) -> tuple[int, int, int]:
        """``(c, h, w)`` of every window."""
        channels = self.shape[0] if self.joint else self.colours
        return channels, self.y.window_length, self.x.window_length

    def __len__(self) -> int:
        groups, rows, cols = self.dimensions
        return groups * rows * cols

    def channels(self, group: int) -> tuple[int, int]:
        """First channel of a group, and one past its last."""
        if self.joint:
            return 0, self.shape[0]
        return group * self.colours, (group + 1) * self.colours

    def group_of(self, channel: int) -> int:
        """The group of a channel."""
        return 0 if self.joint else channel // self.colours

    def index(self, group: int, row: int, col: int) -> int:
        """Number of the tile at a place of the grid."""
        _, rows, cols = self.dimensions
        return (group * rows + row) * cols + col

    def tile(self, index: int) -> Tile:
        """The tile of a number.

        Raises
        ------
        IndexError
            If the grid has no such tile.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"tile {index} of a grid of {len(self)}")
        _, rows, cols = self.dimensions
        group, place = divmod(index, rows * cols)
        row, col = divmod(place, cols)
        return Tile(
            index=index,
            channels=self.channels(group),
            row=row,
            col=col,
            core=Box(*self.y.core_bounds(row), *self.x.core_bounds(col)),
            window=Box(*self.y.window_bounds(row), *self.x.window_bounds(col)),
        )

    def touching(self, group: int, box: Box) -> list[Tile]:
        """Tiles of a channel group whose windows may touch `box`, by increasing number."""
        return [
            self.tile(self.index(group, row, col))
            for row in self.y.touching(box.y0, box.y1)
            for col in self.x.touching(box.x0, box.x1)
        ]
