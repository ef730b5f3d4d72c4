"""The image of a PNG or JPEG file, decoded as a whole once in each process: neither can be read in parts."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import imagecodecs
import numpy as np
import numpy.typing as npt

from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.sources.jpeg_file import (
    JpegHeader,
    jpeg_damage,
    jpeg_metadata,
    read_jpeg_header,
)
from glassplate.pipeline.sources.png_file import PngHeader, read_png_header
from glassplate.pipeline.sources.segments import SEGMENT_LIMIT_BYTES
from glassplate.pipeline.sources.source import (
    MOST_JOINT_PLANES,
    AlphaReader,
    Format,
    ImageInfo,
    Pixels,
    SourceSpec,
    choose_working_dtype,
)
from glassplate.pipeline.sources.tiff.tags import described
from glassplate.pipeline.text import one_line
from glassplate.pipeline.tile_grid import Box

# Components of a JPEG in cyan, magenta, yellow and black.
_INKS = 4
# TIFF's photometric interpretations: grey with black as 0; red, green and blue; inks.
_GREY, _RGB, _SEPARATED = 1, 2, 5
# The tag InkSet in the form of `read_tags`; 1 is CMYK.
_INK_SET = [332, "InkSet", 3, 1, 1]
# TIFF's ExtraSamples: unspecified, and unassociated alpha, which is that of a PNG.
_UNSPECIFIED, _UNASSOCIATED = 0, 2

# Bytes that are read for the header of a JPEG: the profile, EXIF and XMP come before the pixels.
_HEAD_BYTES = 8 << 20


@dataclass(frozen=True)
class PngJpegHeader:
    """The header of a PNG or JPEG file."""

    width: int
    height: int
    channels: int
    bits: int
    palette: bool
    metadata: dict[str, Any]
    """JSON-able; each key where the file has it: ``icc`` (base64), ``resolution`` ``[[n, d], [n, d]]``,
    ``resolution_unit`` (2: inch, 3: centimetre), ``photometric``, ``software``, ``tags``, ``exif`` and
    ``gps``, in the form of `read_tags`."""
    inks: bool = False
    """Whether the channels are inks, stored inverted."""
    reason: str | None = None
    """Why the image cannot be restored, other than its size and type; None if it can."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(y, x)`` or ``(c, y, x)``."""
        plane = (self.height, self.width)
        return plane if self.channels == 1 else (self.channels, *plane)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the decoded pixels."""
        return np.dtype(np.uint8 if self.bits <= 8 else np.uint16)

    @property
    def decoded_bytes(self) -> int:
        """Memory of the decoded image."""
        return math.prod(self.shape) * self.dtype.itemsize


class PngJpegSource:
    """The image of a PNG or JPEG file, decoded when it is opened."""

    def __init__(
        self, spec: SourceSpec, path: Path, found: Format, *, bilevel: bool = False
    ) -> None:
        """Decode the plain file `path`; `bilevel` allows images of 1 bit.

        Raises
        ------
        SourceError
            If the file is truncated or damaged, or cannot be restored.
        """
        if spec.hdu is not None or spec.page is not None:
            raise UsageError(f"{spec.path}: --hdu and --page do not apply to {found.upper()}")
        self.spec = spec
        self.format: Format = found
        header = _header(path, spec.path, found)
        self.info = _info(header, bilevel=bilevel)
        if not self.info.restorable:
            raise SourceError(f"{spec.path}: {self.info.reason}")
        pixels = _decoded(path, spec.path, found, header)
        if pixels.ndim == 2:
            pixels = pixels[:, :, None]
        self._pixels = np.moveaxis(pixels, 2, 0)  # (h, w, c) -> (c, h, w)
        channels, height, width = self._pixels.shape
        self.shape: tuple[int, int, int] = (channels, height, width)
        self.ndim: Literal[2, 3] = 2 if channels == 1 else 3
        self.joint = channels <= MOST_JOINT_PLANES
        self.dtype = self.output_dtype = self._pixels.dtype
        self.working_dtype = choose_working_dtype(self.dtype)
        self.unit: str | None = None
        self.alpha: AlphaReader | None = None
        self.resident_bytes = self._pixels.nbytes
        self.metadata: dict[str, Any] = {"raster": {"format": found, **header.metadata}}

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Copy one box out of the decoded image."""
        part = self._pixels[(slice(*(channels or (0, self.shape[0]))), *box.slices)]
        return Pixels(part.astype(self.working_dtype), np.ones(part.shape, bool))

    def close(self) -> None:
        """Drop the decoded image."""
        self._pixels = self._pixels[:, :0, :0].copy()


def png_jpeg_images(path: Path) -> tuple[list[ImageInfo], list[str]]:
    """The one image of a file, from its header alone.

    Raises
    ------
    SourceError
        If the header is damaged.
    """
    with path.open("rb") as file:
        found: Format = "png" if file.read(4) == b"\x89PNG" else "jpeg"
    return [_info(_header(path, path, found))], []


def _info(header: PngJpegHeader, *, bilevel: bool = False) -> ImageInfo:
    reason = header.reason
    if header.palette:
        reason = "palette colours: its pixels are indices; convert it to RGB first"
    elif 0 in header.shape:
        reason = f"zero size {header.shape}"
    elif header.bits == 1 and not bilevel:
        reason = "1 bit per pixel: there is no grey to restore"
    elif header.decoded_bytes > SEGMENT_LIMIT_BYTES:
        reason = (
            f"decodes to {header.decoded_bytes / 2**30:.1f} GiB, more than the "
            f"{SEGMENT_LIMIT_BYTES / 2**30:.0f} GiB that are held at once; save it as a tiled TIFF"
        )
    return ImageInfo(0, "", header.shape, header.dtype.name, None, reason is None, reason)


def _decoded(path: Path, named: Path, found: Format, header: PngJpegHeader) -> npt.NDArray[Any]:
    raw = path.read_bytes()
    try:
        decode = imagecodecs.png_decode if found == "png" else imagecodecs.jpeg_decode
        pixels: npt.NDArray[Any] = decode(raw)
    # the codecs raise several subclasses of RuntimeError
    except Exception as error:
        reason = one_line(error)
        raise SourceError(f"{named}: truncated or damaged {found.upper()}: {reason}") from error
    if found == "png":
        return pixels
    damage = jpeg_damage(raw)
    if damage is not None:
        raise SourceError(f"{named}: truncated or damaged JPEG: {damage}")
    if header.inks:
        # Adobe's programs store 255 for no ink, TIFF 0
        pixels = np.invert(pixels)
    return pixels


def _header(path: Path, named: Path, found: Format) -> PngJpegHeader:
    try:
        with path.open("rb") as file:
            return (
                _png_header(read_png_header(file))
                if found == "png"
                else _jpeg_header(read_jpeg_header(file.read(_HEAD_BYTES)))
            )
    except (struct.error, IndexError, ValueError) as error:
        raise SourceError(f"{named}: damaged {found.upper()} header: {error}") from error


def _png_header(png: PngHeader) -> PngJpegHeader:
    metadata = {
        **described(png.exif, png.xmp, png.iptc),
        **png.found,
        "photometric": _RGB if png.channels >= 3 else _GREY,
        "extra_samples": [_UNASSOCIATED] * png.alpha,
    }
    return PngJpegHeader(png.width, png.height, png.channels, png.bits, png.palette, metadata)


def _jpeg_header(jpeg: JpegHeader) -> PngJpegHeader:
    inks = jpeg.channels == _INKS
    photometric = _SEPARATED if inks else _RGB if jpeg.channels == 3 else _GREY
    metadata = {
        **described(jpeg.exif, jpeg.xmp, jpeg.iptc),
        **jpeg_metadata(jpeg),
        "photometric": photometric,
        "extra_samples": [_UNSPECIFIED] * (jpeg.channels == 2),
    }
    if inks:
        metadata["tags"] = [*metadata["tags"], _INK_SET]
    reason = None
    if inks and jpeg.adobe not in (0, 2):
        reason = (
            "CMYK without Adobe's marker: whether 0 or the largest value is full ink is not known; "
            "convert it to TIFF or RGB first"
        )
    return PngJpegHeader(
        jpeg.width, jpeg.height, jpeg.channels, jpeg.bits, False, metadata, inks=inks, reason=reason
    )
