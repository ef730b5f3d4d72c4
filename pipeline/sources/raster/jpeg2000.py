"""JPEG 2000: the boxes of a JP2 or JPX file, or a bare codestream; ISO/IEC 15444-1, annexes A and I."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glassplate.pipeline.sources.raster.header import (
    ASSOCIATED,
    INK_SET,
    SEPARATED,
    UNASSOCIATED,
    RasterHeader,
    interpretation,
)
from glassplate.pipeline.sources.tiff.tag_table import GEOGRAPHIC
from glassplate.pipeline.sources.tiff.tags import described

CODESTREAM = b"\xff\x4f\xff\x51"
END = b"\xff\xd9"

# Boxes of type uuid that hold metadata: XMP, EXIF, IPTC and GeoJP2, which is a GeoTIFF without pixels.
XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
EXIF_UUID = b"JpgTiffExif->JP2"
IPTC_UUID = bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38")
GEO_UUID = bytes.fromhex("b14bf8bd083d4b43a5ae8cd7d5a6ce03")

# Enumerated colour spaces: sRGB, grey, and luminance with two colour differences.
SRGB, GREYSCALE, _SYCC, _CMYK = 16, 17, 18, 12

# Bytes of a sample in OpenJPEG.
_SAMPLE_BYTES = 4
# Largest metadata box that is read, in bytes.
_MOST_BYTES = 64 << 20

Box = tuple[bytes, bytes]
"""Type and content of a box."""


@dataclass
class _Found:
    """What the boxes say."""

    size: bytes = b""
    """The marker segment SIZ of the codestream."""
    complete: bool = True
    colour_space: int | None = None
    icc: bytes | None = None
    palette_columns: int = 0
    alpha: int | None = None
    resolution: tuple[bytes, bytes] | None = None
    uuids: dict[bytes, bytes] = field(default_factory=dict)


def header_of(path: Path) -> RasterHeader:
    """Read the header and the metadata of a file.

    Raises
    ------
    ValueError, struct.error, IndexError
        If they are damaged, or there is no codestream.
    """
    found = _Found()
    with path.open("rb") as file:
        if file.read(4) == CODESTREAM:
            file.seek(0)
            raw = file.read(_MOST_BYTES)
            found.size = raw[4:]
            file.seek(-2, 2)
            found.complete = file.read() == END
        else:
            for kind, content in _file_boxes(path):
                _note(found, kind, content)
    if not found.size:
        raise ValueError("no codestream")
    return _header(found)


def boxes(raw: bytes) -> Iterator[Box]:
    """The boxes within a box; a damaged length ends them."""
    at = 0
    while at + 8 <= len(raw):
        length, kind = struct.unpack_from(">I4s", raw, at)
        start = at + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", raw, start)
            start += 8
        length = length or len(raw) - at
        if length < start - at:
            return
        yield kind, raw[start : at + length]
        at += length


def _file_boxes(path: Path) -> Iterator[Box]:
    """The boxes of a file; of the codestream only its first kilobyte and its last two bytes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        at = 0
        while at + 8 <= size:
            file.seek(at)
            length, kind = struct.unpack(">I4s", file.read(8))
            head = 8
            if length == 1:
                (length,) = struct.unpack(">Q", file.read(8))
                head = 16
            length = length or size - at
            if length < head:
                raise ValueError(f"box {kind!r} at byte {at} has {length} bytes")
            if kind == b"jp2c":
                start = file.read(min(1024, length - head))
                file.seek(max(at + head, min(at + length, size) - 2))
                yield kind, start + (file.read(2) if at + length <= size else b"\0\0")
            elif length <= _MOST_BYTES:
                yield kind, file.read(length - head)
            at += length


def _note(found: _Found, kind: bytes, content: bytes) -> None:
    """Keep what a box says; of several codestreams the first is read."""
    if kind == b"jp2c" and not found.size:
        if not content.startswith(CODESTREAM):
            raise ValueError("no codestream in its box")
        found.size, found.complete = content[4:], content.endswith(END)
    elif kind == b"jp2h":
        for inner, data in boxes(content):
            _note_header(found, inner, data)
    elif kind == b"uuid":
        found.uuids.setdefault(content[:16], content[16:])


def _note_header(found: _Found, kind: bytes, data: bytes) -> None:
    if kind == b"colr" and data[0] == 1 and found.colour_space is None:
        (found.colour_space,) = struct.unpack_from(">I", data, 3)
    elif kind == b"colr" and data[0] in (2, 3):
        found.icc = found.icc or data[3:]
    elif kind == b"pclr":
        found.palette_columns = data[2]
    elif kind == b"cdef":
        (count,) = struct.unpack_from(">H", data)
        kinds = [struct.unpack_from(">HH", data, 2 + 6 * n) for n in range(count)]
        opacity = {1: UNASSOCIATED, 2: ASSOCIATED}
        found.alpha = next((opacity[t] for _, t in kinds if t in opacity), None)
    elif kind == b"res ":
        for name, content in boxes(data):
            # the resolution of capture before that of display
            if name == b"resc" or found.resolution is None:
                found.resolution = (name, content)


def _header(found: _Found) -> RasterHeader:
    """The header that the boxes and the marker segment SIZ give."""
    _, _, x1, y1, x0, y0 = struct.unpack_from(">HHIIII", found.size)
    (components,) = struct.unpack_from(">H", found.size, 36)
    samples = [struct.unpack_from(">BBB", found.size, 38 + 3 * n) for n in range(components)]
    depths, channels = {depth for depth, _, _ in samples}, found.palette_columns or components
    reason = None
    if not found.complete:
        reason = "truncated or damaged JPEG 2000: its codestream has no end"
    elif len(depths) > 1 or any((x, y) != (1, 1) for _, x, y in samples):
        reason = "JPEG 2000 whose components differ in size or depth; save it as TIFF first"
    elif found.colour_space == _SYCC:
        reason = (
            "JPEG 2000 in YCbCr, which the decoder does not turn into RGB; save it as TIFF first"
        )
    depth = samples[0][0]
    bits = 8 if found.palette_columns else (depth & 0x7F) + 1
    metadata = {**_described(found), **interpretation(channels, alpha=_alpha(found, channels))}
    if found.colour_space == _CMYK:
        metadata |= {"photometric": SEPARATED, "extra_samples": []}
        metadata["tags"] = [*metadata["tags"], INK_SET]
    if bits not in (8, 16):
        metadata["bits_per_sample"] = bits
    return RasterHeader(
        *(x1 - x0, y1 - y0, channels, bits, metadata),
        signed=bool(depth & 0x80),
        reason=reason,
        note="a palette is read as its colours" if found.palette_columns else None,
        decoder_bytes=_SAMPLE_BYTES,
    )


def _alpha(found: _Found, channels: int) -> int | None:
    """The kind of alpha of the last channel; a second or fourth that nothing describes is no alpha."""
    return found.alpha if channels in (2, 4) else None


def _described(found: _Found) -> dict[str, Any]:
    exif = found.uuids.get(EXIF_UUID)
    if exif is not None:
        exif = exif.removeprefix(b"Exif\0\0")
    metadata = described(exif, found.uuids.get(XMP_UUID), found.uuids.get(IPTC_UUID))
    geography = found.uuids.get(GEO_UUID)
    if geography:
        tags = described(geography)["tags"]
        metadata["tags"] += [tag for tag in tags if tag[0] in GEOGRAPHIC]
    if found.icc:
        metadata["icc"] = base64.b64encode(found.icc).decode()
    if found.resolution is not None:
        metadata |= _resolution(found.resolution[1])
    return metadata


def _resolution(content: bytes) -> dict[str, Any]:
    """Pixels per centimetre; the box states them per metre, as a ratio and a power of ten."""
    top_y, bottom_y, top_x, bottom_x, power_y, power_x = struct.unpack(">HHHHbb", content[:10])
    ratios = []
    for top, bottom, power in ((top_x, bottom_x, power_x), (top_y, bottom_y, power_y)):
        power -= 2
        top, bottom = top * 10 ** max(power, 0), bottom * 10 ** max(-power, 0)
        if not (0 < top < 2**32 and 0 < bottom < 2**32):
            return {}
        ratios.append([top, bottom])
    return {"resolution": ratios, "resolution_unit": 3}
