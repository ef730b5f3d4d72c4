"""PNG and JPEG sources: decoded whole, once in each process, since neither can be read in parts."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import imagecodecs
import numpy as np
import numpy.typing as npt

from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.segments import SEGMENT_LIMIT_BYTES
from glassplate.pipeline.source import (
    MOST_JOINT_PLANES,
    Format,
    ImageInfo,
    Pixels,
    SourceSpec,
    choose_working_dtype,
)
from glassplate.pipeline.tiles import Box

_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_PALETTE = 3

# Room for the profile, EXIF and XMP that come before the pixels.
_HEAD_BYTES = 8 << 20

# Cameras and editors append previews and padding after the end marker.
_TAIL_BYTES = 1 << 16

# JPEG markers of frames: baseline, extended, progressive, lossless and their arithmetic twins.
JPEG_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA, 0xCB}


@dataclass(frozen=True)
class RasterHeader:
    """What the header of a PNG or JPEG file says."""

    width: int
    height: int
    channels: int
    bits: int
    palette: bool
    metadata: dict[str, Any]
    """JSON-able: ``icc`` (base64), ``resolution`` ``[[n, d], [n, d]]`` and ``resolution_unit`` as in
    TIFF (2: inch, 3: centimetre), ``exif`` (base64), where they are there."""

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
        """Memory that the decoded image takes."""
        return math.prod(self.shape) * self.dtype.itemsize


class RasterSource:
    """The image of a PNG or JPEG file, decoded when it is opened."""

    def __init__(
        self, spec: SourceSpec, path: Path, found: Format, *, bilevel: bool = False
    ) -> None:
        """Decode the plain file `path`; `bilevel` lets 1-bit images pass.

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
        pixels = _decoded(path, spec.path, found)
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
        self.resident_bytes = self._pixels.nbytes
        self.metadata: dict[str, Any] = {"raster": {"format": found, **header.metadata}}

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Copy one box out of the decoded image."""
        part = self._pixels[(slice(*(channels or (0, self.shape[0]))), *box.slices)]
        return Pixels(part.astype(self.working_dtype), np.ones(part.shape, bool))

    def close(self) -> None:
        """Drop the decoded image."""
        self._pixels = self._pixels[:, :0, :0].copy()


def raster_images(path: Path) -> tuple[list[ImageInfo], list[str]]:
    """The one image of a file, from its header alone.

    Raises
    ------
    SourceError
        If the header is damaged.
    """
    with path.open("rb") as file:
        found: Format = "png" if file.read(4) == b"\x89PNG" else "jpeg"
    return [_info(_header(path, path, found))], []


def _info(header: RasterHeader, *, bilevel: bool = False) -> ImageInfo:
    reason = None
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


def _decoded(path: Path, named: Path, found: Format) -> npt.NDArray[Any]:
    raw = path.read_bytes()
    try:
        decode = imagecodecs.png_decode if found == "png" else imagecodecs.jpeg_decode
        pixels: npt.NDArray[Any] = decode(raw)
    # libpng's and libjpeg's errors come as RuntimeError of several classes
    except Exception as error:
        reason = " ".join(str(error).split())
        raise SourceError(f"{named}: truncated or damaged {found.upper()}: {reason}") from error
    # libjpeg paints what is missing grey and calls it a warning
    if found == "jpeg" and b"\xff\xd9" not in raw[-_TAIL_BYTES:]:
        raise SourceError(f"{named}: truncated JPEG: its end marker is missing")
    return pixels


def _header(path: Path, named: Path, found: Format) -> RasterHeader:
    with path.open("rb") as file:
        raw = file.read(_HEAD_BYTES)
    try:
        return _png_header(raw) if found == "png" else _jpeg_header(raw)
    except (struct.error, IndexError, ValueError, zlib.error) as error:
        raise SourceError(f"{named}: damaged {found.upper()} header: {error}") from error


def _png_header(raw: bytes) -> RasterHeader:
    width, height, bits, kind = struct.unpack_from(">IIBB", raw, 16)
    channels = _PNG_CHANNELS.get(kind)
    if raw[12:16] != b"IHDR" or channels is None:
        raise ValueError("no valid IHDR chunk")
    found: dict[str, Any] = {}
    for name, data in _png_chunks(raw):
        if name == b"iCCP":
            _, _, packed = data.partition(b"\0")
            found["icc"] = base64.b64encode(zlib.decompress(packed[1:])).decode()
        elif name == b"pHYs" and data[8:9] == b"\1":
            per_metre = struct.unpack(">II", data[:8])
            # pixels per centimetre, as exact ratios
            found["resolution"] = [[n, 100] for n in per_metre]
            found["resolution_unit"] = 3
        elif name == b"eXIf":
            found["exif"] = base64.b64encode(data).decode()
        elif name == b"tRNS" and kind in (0, 2):
            channels += 1  # the codec makes an alpha channel of it
    return RasterHeader(width, height, channels, bits, kind == _PNG_PALETTE, found)


def _png_chunks(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Chunks before the pixels."""
    at = 8
    while at + 8 <= len(raw):
        size, name = struct.unpack_from(">I4s", raw, at)
        if name == b"IDAT":
            return
        yield name, raw[at + 8 : at + 8 + size]
        at += size + 12


def _jpeg_header(raw: bytes) -> RasterHeader:
    found: dict[str, Any] = {}
    profile: dict[int, bytes] = {}
    for marker, data in jpeg_segments(raw):
        if marker == 0xE0 and data.startswith(b"JFIF\0"):
            unit, x, y = struct.unpack_from(">BHH", data, 7)
            if unit in (1, 2) and x and y:
                found["resolution"] = [[x, 1], [y, 1]]
                found["resolution_unit"] = unit + 1
        elif marker == 0xE1 and data.startswith(b"Exif\0\0"):
            found["exif"] = base64.b64encode(data[6:]).decode()
        elif marker == 0xE2 and data.startswith(b"ICC_PROFILE\0"):
            profile[data[12]] = data[14:]
        elif marker in JPEG_FRAMES:
            bits, height, width, channels = struct.unpack_from(">BHHB", data)
            if profile:
                whole = b"".join(profile[n] for n in sorted(profile))
                found["icc"] = base64.b64encode(whole).decode()
            return RasterHeader(width, height, channels, bits, False, found)
    raise ValueError("no frame header")


def jpeg_segments(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment, up to the first scan's and a guess beyond it."""
    at = 2
    while at + 4 <= len(raw):
        if raw[at] != 0xFF:
            raise ValueError(f"byte {at} is no marker")
        marker = raw[at + 1]
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2
            continue
        (size,) = struct.unpack_from(">H", raw, at + 2)
        yield marker, raw[at + 4 : at + 2 + size]
        at += 2 + size
