"""Removal of a semi-transparent overlay, such as a watermark, where the image shows through."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.sources.source import Pixels, Source, WrappedSource, white_of
from glassplate.pipeline.tile_grid import Box

# A pixel counts as missing from this opacity on: a tenth of its grey levels is left, and every error of the
# overlay is ten times as large.
OPAQUE = 0.9


class OverlayRemovedSource(WrappedSource):
    """A source without its overlay.

    The overlay has one or three planes of colour w and one of opacity a, so that the image x became
    ``(1 - a) x + a w``. Where a is below `OPAQUE` this is inverted and a variance is multiplied by
    ``1 / (1 - a)^2``; elsewhere the pixel is invalid. Where a is 0 the value keeps all its bits.
    """

    def __init__(self, source: Source, overlay: Source) -> None:
        super().__init__(source, overlay)
        self._overlay = overlay
        self._white = white_of(source)

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box of the image and of the overlay, and remove the overlay."""
        pixels, laid = self._source.read(box, channels), self._overlay.read(box)
        full = white_of(self._overlay)
        opacity = np.clip(laid.values[-1:] / full, 0, 1)  # (1, h, w)
        colour = laid.values[:-1] / full * self._white  # (1, h, w) or (3, h, w)
        if len(colour) > 1:
            colour = colour[slice(*(channels or (0, len(colour))))]
        clear = opacity < OPAQUE
        share = np.where(clear, 1 - opacity, 1)
        bare = np.clip((pixels.values - opacity * colour) / share, 0, self._white)
        values = np.where(clear & (opacity > 0), bare, pixels.values)
        valid = pixels.valid & clear & laid.valid.all(0)
        variance: npt.NDArray[np.float32] | None = None
        if pixels.variance is not None:
            variance = (pixels.variance / share**2).astype(np.float32)
        return Pixels(
            values.astype(self.working_dtype),
            valid,
            variance,
            pixels.guide,
            hidden=pixels.hidden,
            saturated=pixels.saturated,
        )


def check_overlay(source: Source, overlay: Source, label: str) -> None:
    """Refuse an overlay that cannot be removed from an image.

    Raises
    ------
    SourceError
        If it has no opacity, another size, or more colours than the image.
    """
    path = source.spec.path
    if overlay.shape[0] not in (2, 4):
        raise SourceError(
            f"{label}: {overlay.shape[0]} planes, must be grey or RGB with an alpha channel; "
            "where it hides the image altogether use --mask"
        )
    if overlay.shape[1:] != source.shape[1:]:
        raise SourceError(
            f"{label}: {overlay.shape[1]} x {overlay.shape[2]} pixels do not fit the "
            f"{source.shape[1]} x {source.shape[2]} of {path}; lay it on a canvas of that size"
        )
    if overlay.shape[0] == 4 and source.shape[0] != 3:
        raise SourceError(
            f"{label}: is RGB, {path} has {source.shape[0]} planes; save the overlay in grey with "
            "its alpha channel"
        )
    for one, what in ((overlay, label), (source, str(path))):
        if one.dtype.kind not in "uf" or one.format == "fits":
            raise SourceError(
                f"{what}: an overlay is taken off TIFF, PNG and JPEG of unsigned integers, or floats with "
                f"white at 1, not {one.format.upper()} of {one.dtype.name}"
            )
