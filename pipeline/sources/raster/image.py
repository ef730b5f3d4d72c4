"""The image of a file that is decoded as a whole, once in each process: none of these is read in parts."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.sources.array_source import ArraySource
from glassplate.pipeline.sources.file_format import NAMES
from glassplate.pipeline.sources.raster import jpeg, jpeg2000, jpegxl, png, webp
from glassplate.pipeline.sources.raster.header import RasterHeader
from glassplate.pipeline.sources.segments import SEGMENT_LIMIT_BYTES
from glassplate.pipeline.sources.source import Format, ImageInfo, SourceSpec
from glassplate.pipeline.text import one_line


@dataclass(frozen=True)
class _Reader:
    """How a format is read."""

    header: Callable[[Path], RasterHeader]
    """Raises ValueError, IndexError, struct.error or zlib.error if the header is damaged."""
    decode: Callable[[bytes], npt.NDArray[Any]]
    """Gives ``(h, w)`` or ``(h, w, c)``. Raises any exception if the file is damaged."""


_READERS: dict[Format, _Reader] = {
    "png": _Reader(png.header_of, png.decode),
    "jpeg": _Reader(jpeg.header_of, jpeg.decode),
    "jpeg2000": _Reader(jpeg2000.header_of, imagecodecs.jpeg2k_decode),
    "webp": _Reader(webp.header_of, imagecodecs.webp_decode),
    "jpegxl": _Reader(jpegxl.header_of, imagecodecs.jpegxl_decode),
}


class RasterSource(ArraySource):
    """The image of a PNG, JPEG, JPEG 2000, WebP or JPEG XL file, decoded when it is opened."""

    def __init__(self, spec: SourceSpec, path: Path, found: Format) -> None:
        """Decode the plain file `path`.

        Raises
        ------
        SourceError
            If the file is truncated or damaged, or cannot be restored.
        """
        name = NAMES[found]
        if spec.hdu is not None or spec.page is not None:
            raise UsageError(f"{spec.path}: --hdu and --page do not apply to {name}")
        header = _header(path, spec.path, found)
        info = _info(header)
        if not info.restorable:
            raise SourceError(f"{spec.path}: {info.reason}")
        pixels = _decoded(path, spec.path, found, header)
        if pixels.ndim == 3:
            # (h, w, c) -> (c, h, w), or (h, w) of one channel
            pixels = pixels[:, :, 0] if header.channels == 1 else np.moveaxis(pixels, 2, 0)
        metadata = {"format": found, **header.metadata}
        if header.note:
            metadata["note"] = header.note
        super().__init__(spec, info, pixels, like=found, metadata={"raster": metadata})

    def close(self) -> None:
        """Drop the decoded image."""
        self._array = np.empty((0, 0), self.dtype)


def raster_images(path: Path, found: Format) -> tuple[list[ImageInfo], list[str]]:
    """The one image of a file, from its header.

    Raises
    ------
    SourceError
        If the header is damaged.
    """
    return [_info(_header(path, path, found))], []


def _info(header: RasterHeader) -> ImageInfo:
    reason = header.reason
    if 0 in header.shape:
        reason = f"zero size {header.shape}"
    elif header.decoded_bytes > SEGMENT_LIMIT_BYTES:
        reason = (
            f"decodes to {header.decoded_bytes / 2**30:.1f} GiB, more than the "
            f"{SEGMENT_LIMIT_BYTES / 2**30:.0f} GiB that are held at once; save it as a tiled TIFF"
        )
    dtype = header.dtype.name
    return ImageInfo(0, "", header.shape, dtype, None, reason is None, reason, header.note)


def _decoded(path: Path, named: Path, found: Format, header: RasterHeader) -> npt.NDArray[Any]:
    raw = path.read_bytes()
    try:
        pixels = _READERS[found].decode(raw)
    # the codecs raise several subclasses of RuntimeError
    except Exception as error:
        reason = one_line(error)
        raise SourceError(f"{named}: truncated or damaged {NAMES[found]}: {reason}") from error
    if header.inks:
        # Adobe's programs store 255 for no ink, TIFF 0
        pixels = np.invert(pixels)
    return pixels


def _header(path: Path, named: Path, found: Format) -> RasterHeader:
    try:
        return _READERS[found].header(path)
    except (struct.error, IndexError, ValueError, zlib.error) as error:
        name = NAMES[found]
        raise SourceError(f"{named}: damaged {name} header: {one_line(error)}") from error
