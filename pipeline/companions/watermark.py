"""What was laid over an image, such as a watermark that shines through, taken off where light passes it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.grid import Box
from glassplate.pipeline.sources.source import Pixels, Source, white_of
from glassplate.pipeline.sources.wrapped import WrappedSource

# Opacity from which on a pixel of the image counts as missing: what is left of it is rounded to a tenth of
# its levels, and every error of the overlay is ten times as large.
OPAQUE = 0.9


class BaredSource(WrappedSource):
    """Another source without what was laid over it.

    The overlay has one or three planes of colour and one of opacity a, so that the image was ``(1 - a) x + a
    w``. Where a is below `OPAQUE` this is undone, and a variance grows with ``1 / (1 - a)^2``; from there on
    the pixel is invalid. Where a is 0 the value stays as it is to the bit.
    """

    def __init__(self, source: Source, overlay: Source) -> None:
        super().__init__(source)
        self._overlay = overlay
        self._white = white_of(source)
        self.resident_bytes = source.resident_bytes + overlay.resident_bytes

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box of the image, and what was laid over it there."""
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
            values.astype(self.working_dtype), valid, variance, pixels.guide, hidden=pixels.hidden
        )

    def close(self) -> None:
        """Close the image and its overlay, which this owns."""
        super().close()
        self._overlay.close()


def check_overlaid(source: Source, overlay: Source) -> None:
    """Refuse an overlay that cannot be taken off an image.

    Raises
    ------
    SourceError
        If it has no opacity, another size, or more colours than the image.
    """
    named, path = overlay.spec.path, source.spec.path
    if overlay.shape[0] not in (2, 4):
        raise SourceError(
            f"overlay {named}: {overlay.shape[0]} planes, must be grey or RGB with an alpha channel; "
            "where it hides the image altogether use --mask"
        )
    if overlay.shape[1:] != source.shape[1:]:
        raise SourceError(
            f"overlay {named}: {overlay.shape[1]} x {overlay.shape[2]} pixels do not fit the "
            f"{source.shape[1]} x {source.shape[2]} of {path}; lay it on a canvas of that size"
        )
    if overlay.shape[0] == 4 and source.shape[0] != 3:
        raise SourceError(
            f"overlay {named}: is RGB, {path} has {source.shape[0]} planes; save the overlay in grey with "
            "its alpha channel"
        )
    for one, what in ((overlay, f"overlay {named}"), (source, str(path))):
        if one.dtype.kind not in "uf" or one.format == "fits":
            raise SourceError(
                f"{what}: an overlay is taken off TIFF, PNG and JPEG of unsigned integers, or floats with "
                f"white at 1, not {one.format.upper()} of {one.dtype.name}"
            )
