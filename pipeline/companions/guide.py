"""A guide: a second image of the same scene on the same grid, which the network sees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from glassplate.pipeline.sources.source import Pixels, Source, WrappedSource
from glassplate.pipeline.tile_grid import Box


class GuidedSource(WrappedSource):
    """A source whose pixels carry a guide, in the units of the guide and NaN where it is invalid."""

    def __init__(self, source: Source, guide: Source) -> None:
        super().__init__(source, guide)
        self._guide = guide

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box of the image, and all channels of the guide there."""
        pixels, guide = self._source.read(box, channels), self._guide.read(box)
        values = np.where(guide.valid, guide.values, np.nan).astype(np.float32)
        return replace(pixels, guide=values)
