"""Tile geometry: pure integers, half-open intervals, ``(y, x)``."""

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
    def slices(self) -> tuple[slice, slice]:
        """Index of this box in a ``(y, x)`` array."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def scaled(self, factor: int) -> Box:
        """The same region on a grid `factor` times finer."""
        return Box(self.y0 * factor, self.y1 * factor, self.x0 * factor, self.x1 * factor)
