"""The user's mask: where it is not zero, the pixels of an image are invalid."""

from __future__ import annotations

from dataclasses import replace

from glassplate.pipeline.companions.same_grid import channels_of
from glassplate.pipeline.sources.source import Pixels, Source, WrappedSource
from glassplate.pipeline.tile_grid import Box


class MaskedSource(WrappedSource):
    """A source whose pixels are invalid where a mask is non-zero or itself invalid.

    A two-dimensional mask holds for all channels.
    """

    def __init__(self, source: Source, mask: Source) -> None:
        super().__init__(source, mask)
        self._mask = mask

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box of the image and of its mask."""
        pixels = self._source.read(box, channels)
        mask = self._mask.read(box, channels_of(self._mask, channels))
        # a mask of shape (1, h, w) is broadcast to all channels
        return replace(pixels, valid=pixels.valid & (mask.values == 0) & mask.valid)
