"""A mask: where it says so, the pixels of an image are invalid."""

from __future__ import annotations

from dataclasses import replace

from glassplate.pipeline.companions.same_grid import channels_of
from glassplate.pipeline.sources.flags import Flags
from glassplate.pipeline.sources.source import Pixels, Source, WrappedSource
from glassplate.pipeline.tile_grid import Box


class MaskedSource(WrappedSource):
    """A source whose pixels are invalid where a mask is bad or itself invalid.

    Without flags, a mask is bad where it is not zero. A two-dimensional mask holds for all channels.
    Saturated pixels that the file has a value of are marked, because they keep it.
    """

    def __init__(self, source: Source, mask: Source, flags: Flags | None = None) -> None:
        super().__init__(source, mask)
        self._mask, self._flags = mask, flags

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box of the image and of its mask."""
        pixels = self._source.read(box, channels)
        mask = self._mask.read(box, channels_of(self._mask, channels))
        # a mask of shape (1, h, w) is broadcast to all channels
        if self._flags is None:
            return replace(pixels, valid=pixels.valid & (mask.values == 0) & mask.valid)
        bad = self._flags.bad_pixels(mask.values) | ~mask.valid
        saturated = self._flags.saturated_pixels(mask.values) & mask.valid & pixels.valid
        return replace(
            pixels,
            valid=pixels.valid & ~bad,
            saturated=saturated if saturated.any() else None,
        )
