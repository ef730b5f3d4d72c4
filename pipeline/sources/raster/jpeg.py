"""The header and metadata of a JPEG, and whether its pixels are complete.

Pillow is not used for the header: it refuses JPEGs of two components or of 12 bits, which are read here.
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imagecodecs
import numpy.typing as npt
import simplejpeg

from glassplate.pipeline.sources.metadata.exif import exif_tags
from glassplate.pipeline.sources.raster.header import (
    INK_SET,
    INKS,
    SEPARATED,
    RasterHeader,
    interpretation,
)
from glassplate.pipeline.sources.tiff.tags import described
from glassplate.pipeline.text import one_line

# Markers of frames: baseline, extended, progressive and lossless, with Huffman or arithmetic coding.
JPEG_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA, 0xCB}
_SCAN, _END, _ADOBE, _COMMENT = 0xDA, 0xD9, 0xEE, 0xFE
# The tag ImageDescription, and the number of pictures in an index of several.
_DESCRIPTION, _PICTURES = 270, 0xB001

# Bytes that are read for the header: the profile, EXIF and XMP come before the pixels.
_HEAD_BYTES = 8 << 20

# The data of a scan end at a marker that is not a stuffed byte, a restart or padding.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")

# Image resource of Photoshop that holds IPTC.
_IPTC = 0x0404

# Messages of simplejpeg about kinds of JPEG that it does not decode: two components, 12 bits, and the
# lossless kind with unusual sampling.
_NOT_ITS_KIND = ("subsampling", "precision", "color conversion", "Unsupported", "not supported")


@dataclass
class JpegHeader:
    """The header and metadata of a JPEG."""

    width: int = 0
    height: int = 0
    channels: int = 0
    bits: int = 0
    adobe: int | None = None
    """Adobe's colour transform: 0 none, 1 Y'CbCr, 2 YCCK; None without Adobe's marker."""
    resolution: tuple[int, int, int] | None = None
    """Pixels per unit of length along x and y, and JFIF's number of the unit."""
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    resources: bytes | None = None
    """Image resources of Photoshop, IPTC among them."""
    comment: str | None = None
    icc: dict[int, bytes] = field(default_factory=dict)
    """Parts of the colour profile by their number."""
    pictures: int = 1
    """Pictures of the file by its index of them (CIPA's multi-picture format), this one included."""


def decode(raw: bytes) -> npt.NDArray[Any]:
    """Decode a file; inks stay as they are stored.

    Raises
    ------
    RuntimeError, ValueError
        If it is damaged.
    """
    pixels: npt.NDArray[Any] = imagecodecs.jpeg_decode(raw)
    damage = jpeg_damage(raw)
    if damage is not None:
        raise ValueError(damage)
    return pixels


def header_of(path: Path) -> RasterHeader:
    """Read the header and the metadata of a file.

    Raises
    ------
    ValueError, struct.error, IndexError
        If they are damaged, or there is no frame.
    """
    with path.open("rb") as file:
        jpeg = read_jpeg_header(file.read(_HEAD_BYTES))
    inks = jpeg.channels == INKS
    texts = {_DESCRIPTION: jpeg.comment} if jpeg.comment else {}
    metadata = {
        **described(jpeg.exif, jpeg.xmp, jpeg.iptc, jpeg.resources, texts),
        **jpeg_metadata(jpeg),
        **interpretation(jpeg.channels),
    }
    if inks:
        metadata |= {"photometric": SEPARATED, "extra_samples": []}
        metadata["tags"] = [*metadata["tags"], INK_SET]
    reason = None
    if inks and jpeg.adobe not in (0, 2):
        reason = (
            "CMYK without Adobe's marker: whether 0 or the largest value is full ink is not known; "
            "convert it to TIFF or RGB first"
        )
    note = None
    if jpeg.pictures > 1:
        # the other half of a stereo pair, a preview, or a map of gains
        note = f"a file of {jpeg.pictures} pictures, of which the first is read"
    size = (jpeg.width, jpeg.height, jpeg.channels, jpeg.bits)
    return RasterHeader(*size, metadata, inks=inks, reason=reason, note=note)


def jpeg_segments(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment; those after the start of the first scan are not reliable.

    Raises
    ------
    ValueError, struct.error
        If a segment does not begin with a marker.
    """
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


def read_jpeg_header(raw: bytes) -> JpegHeader:
    """Read the segments before the first scan.

    Raises
    ------
    ValueError, struct.error, IndexError
        If they are damaged, or there is no frame.
    """
    header = JpegHeader()
    for marker, data in jpeg_segments(raw):
        if marker == _SCAN:
            break
        if marker in JPEG_FRAMES:
            frame = struct.unpack_from(">BHHB", data)
            header.bits, header.height, header.width, header.channels = frame
        else:
            _note(header, marker, data)
    if not header.channels:
        raise ValueError("no frame header")
    return header


def _note(header: JpegHeader, marker: int, data: bytes) -> None:
    """Keep the metadata of a segment."""
    if marker == 0xE0 and data.startswith(b"JFIF\0"):
        unit, x, y = struct.unpack_from(">BHH", data, 7)
        if unit in (1, 2) and x and y:
            header.resolution = (x, y, unit)
    elif marker == 0xE1 and data.startswith(b"Exif\0\0"):
        header.exif = header.exif or data[6:]
    elif marker == 0xE1 and data.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
        header.xmp = header.xmp or data[29:]
    elif marker == 0xE2 and data.startswith(b"ICC_PROFILE\0"):
        header.icc[data[12]] = data[14:]
    elif marker == 0xE2 and data.startswith(b"MPF\0"):
        index = exif_tags(data[4:])
        pictures = None if index is None else index.valueof(_PICTURES)
        header.pictures = pictures if isinstance(pictures, int) else 1
    elif marker == 0xED and data.startswith(b"Photoshop 3.0\0"):
        header.iptc = header.iptc or iptc_of(data[14:])
        header.resources = header.resources or data[14:]
    elif marker == _COMMENT:
        text = data.rstrip(b"\0").decode("utf-8", "replace").strip()
        header.comment = header.comment or text
    elif marker == _ADOBE and data.startswith(b"Adobe"):
        header.adobe = data[11]


def iptc_of(resources: bytes) -> bytes | None:
    """The IPTC block in Photoshop's image resources; None without one."""
    at = 0
    while resources[at : at + 4] == b"8BIM" and at + 7 < len(resources):
        (number,) = struct.unpack_from(">H", resources, at + 4)
        named = 1 + resources[at + 6]
        at += 6 + named + named % 2
        if at + 4 > len(resources):
            return None
        (size,) = struct.unpack_from(">I", resources, at)
        if number == _IPTC:
            return resources[at + 4 : at + 4 + size]
        at += 4 + size + size % 2
    return None


def jpeg_damage(raw: bytes) -> str | None:
    """What is wrong with a JPEG, in one line; None where all of its data can be decoded.

    libjpeg fills missing blocks and gives a warning, which most programs do not show. Bytes after the end
    marker (padding of cameras, further images, films) are ignored. Damage that leaves the number of decoded
    blocks as it was is not detected.
    """
    try:
        # all data are decoded, but at an eighth of the size few blocks are transformed
        simplejpeg.decode_jpeg(raw, colorspace="GRAY", min_factor=8, strict=True)
    except ValueError as error:
        reason = one_line(error)
        if not any(words in reason for words in _NOT_ITS_KIND):
            return reason
        return None if _has_an_end(raw) else "its end marker is missing"
    return None


def jpeg_shortage(raw: bytes, height: int, width: int) -> str | None:
    """What a JPEG lacks of a size, in one line; None where it has so many pixels, or does not tell."""
    try:
        high, wide, *_ = simplejpeg.decode_jpeg_header(raw)
    except ValueError:
        return None
    if high >= height and wide >= width:
        return None
    return f"it has {wide} x {high} pixels, {width} x {height} are needed"


def _has_an_end(raw: bytes) -> bool:
    """Whether the end marker of the image itself is there; a thumbnail in the header has one, too."""
    at = 2
    while at + 4 <= len(raw) and raw[at] == 0xFF:
        marker = raw[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        (size,) = struct.unpack_from(">H", raw, at + 2)
        at += 2 + size
        if marker != _SCAN:
            continue
        found = _MARKER.search(raw, at)
        if found is None:
            return False
        at = found.start()
        if raw[at + 1] == _END:
            return True
    return raw[at : at + 2] == bytes([0xFF, _END])


def jpeg_metadata(header: JpegHeader) -> dict[str, Any]:
    """Profile and resolution in the form of `RasterHeader.metadata`."""
    found: dict[str, Any] = {}
    if header.resolution is not None:
        x, y, unit = header.resolution
        found["resolution"] = [[x, 1], [y, 1]]
        found["resolution_unit"] = unit + 1
    if header.icc:
        whole = b"".join(header.icc[number] for number in sorted(header.icc))
        found["icc"] = base64.b64encode(whole).decode()
    return found
