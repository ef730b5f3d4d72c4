"""The alpha channel of an image, its opacity: it is not restored, and is copied to the result.

The infrared plane of a scan is copied in the same way.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from glassplate.pipeline.sources.source import MOST_JOINT_PLANES, Pixels, Source, WrappedSource
from glassplate.pipeline.tile_grid import Box

# TIFF's ExtraSamples that are alpha: associated (colours are multiplied by it) and unassociated.
_ALPHA_KINDS = (1, 2)


class AlphaSplitSource(WrappedSource):
    """The colours of a source whose last plane is alpha, or infrared.

    A pixel of alpha 0 is invalid: programs leave any colour there, so that it says nothing about its
    neighbours. It is also `hidden`: it is not filled. Infrared hides nothing.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        colours = source.shape[0] - 1
        self.shape = (colours, *source.shape[1:])
        self.joint = colours <= MOST_JOINT_PLANES
        self.alpha = self._alpha_in
        self._hides = not has_infrared(source)

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box of the colours."""
        first, last = channels or (0, self.shape[0])
        if last == self.shape[0]:
            # one read: where the samples of a pixel are stored together, each read decodes them all
            pixels = self._source.read(box, (first, last + 1))
            values, valid, alpha = pixels.values[:-1], pixels.valid[:-1], pixels.values[-1]
        else:
            pixels = self._source.read(box, (first, last))
            values, valid, alpha = pixels.values, pixels.valid, self._alpha_in(box)
        if not self._hides:
            return Pixels(values, valid)
        hidden = alpha == 0
        return Pixels(values, valid & ~hidden, hidden=hidden)

    def _alpha_in(self, box: Box) -> npt.NDArray[Any]:
        """Alpha as it is stored, ``(h, w)``."""
        plane = self.shape[0]
        alpha: npt.NDArray[Any] = self._source.read(box, (plane, plane + 1)).values[0]
        return alpha


def without_alpha(source: Source) -> Source:
    """The colours of a source that has an alpha channel or an infrared plane; else the source itself."""
    return AlphaSplitSource(source) if has_alpha(source) or has_infrared(source) else source


def has_infrared(source: Source) -> bool:
    """Whether the last of several planes is infrared, according to the file's metadata."""
    return source.alpha is None and bool(source.metadata.get("tiff", {}).get("infrared"))


def has_alpha(source: Source) -> bool:
    """Whether the last of several planes is alpha, according to the file's metadata."""
    if source.alpha is not None:
        return False  # it is no plane any more
    found = source.metadata.get("tiff") or source.metadata.get("raster") or {}
    kinds = found.get("extra_samples") or [None]
    return source.shape[0] > 1 and source.ndim == 3 and kinds[-1] in _ALPHA_KINDS
