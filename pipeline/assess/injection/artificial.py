"""Artificial sources, and an image with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.sources.source import Pixels, Source, WrappedSource
from glassplate.pipeline.tile_grid import Box

FloatArray = npt.NDArray[np.float64]
Kind = Literal["point", "galaxy"]
KINDS: tuple[Kind, ...] = ("point", "galaxy")

# Signal to noise of a matched filter: at 5 a source is just found, from 50 on nothing is lost.
SIGNIFICANCES = (5, 8, 12, 20, 50)


@dataclass(frozen=True)
class ArtificialSource:
    """A source of known place and light."""

    kind: Kind
    y: float
    """Row, pixels."""
    x: float
    """Column, pixels."""
    significance: int
    """Signal to noise of a matched filter, one of `SIGNIFICANCES`."""
    flux: float
    """Sum over its pixels, source units."""
    angle: float
    """Direction of a galaxy, radians."""
    light: bytes
    """Its pixels with the noise of its own photons, float64, a square around the pixel of its centre."""

    @property
    def centre(self) -> tuple[int, int]:
        """The pixel of its centre."""
        return round(self.y), round(self.x)

    @property
    def offset(self) -> tuple[float, float]:
        """Its place from the middle of that pixel."""
        return self.y - self.centre[0], self.x - self.centre[1]

    @property
    def pixels(self) -> FloatArray:
        """`light` as a square."""
        values: FloatArray = np.frombuffer(self.light)
        side = round(values.size**0.5)
        return values.reshape(side, side)


class SourceWithSources(WrappedSource):
    """An image with artificial sources in its first plane."""

    def __init__(self, source: Source, sources: Sequence[ArtificialSource]) -> None:
        super().__init__(source)
        self._sources = tuple(sources)

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """See `Source.read`."""
        pixels = self._source.read(box, channels)
        if channels is not None and channels[0] > 0:
            return pixels
        values = pixels.values.copy()
        for one in self._sources:
            add_light(values[0], box, one)
        return replace(pixels, values=values)


def add_light(plane: npt.NDArray[np.floating], box: Box, source: ArtificialSource) -> None:
    """Add a source to the pixels ``(h, w)`` of a box of the image."""
    pixels, (row, column) = source.pixels, source.centre
    half = len(pixels) // 2
    top, left = row - half, column - half
    y0, y1 = max(top, box.y0), min(top + len(pixels), box.y1)
    x0, x1 = max(left, box.x0), min(left + len(pixels), box.x1)
    if y0 < y1 and x0 < x1:
        plane[y0 - box.y0 : y1 - box.y0, x0 - box.x0 : x1 - box.x0] += pixels[
            y0 - top : y1 - top, x0 - left : x1 - left
        ]
