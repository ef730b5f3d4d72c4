"""Writes a result as a JPEG 2000 file (JP2), without loss, and reads it again to be sure."""

from __future__ import annotations

import base64
import io
import math
import struct
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import imagecodecs
import numpy as np
import tifffile

from glassplate.pipeline.errors import CapacityError, StoreError, UsageError
from glassplate.pipeline.export.level import ExportedImage
from glassplate.pipeline.export.tiff.description import Written
from glassplate.pipeline.export.tiff.tags import extra_tags, scaled_resolution, software_text
from glassplate.pipeline.sources.raster.jpeg2000 import GEO_UUID, IPTC_UUID, XMP_UUID, boxes
from glassplate.pipeline.sources.segments import SEGMENT_LIMIT_BYTES
from glassplate.pipeline.sources.tiff.tag_table import GEOGRAPHIC
from glassplate.pipeline.tile_grid import Box

# OpenJPEG holds each sample in four bytes.
_SAMPLE_BYTES = 4
_XMP, _IPTC = 700, 33723
_GREY, _RGB = 1, 2
_MOST_RATIO = 65535
_UNASSOCIATED_ALPHA, _ASSOCIATED_ALPHA = 2, 1

# The element that tells an export of glassplate from other files.
_ELEMENT = b"<glassplate "


def write_jpeg2000(image: ExportedImage, path: Path) -> None:
    """Write grey or RGB integers of at most 16 bits, with or without alpha, reversibly.

    Profile, resolution, XMP, IPTC and the place on the Earth are those of a TIFF export. EXIF is not written,
    as JP2 has no standard place for it.

    Raises
    ------
    UsageError
        If the pixels are of a kind that JP2 cannot hold.
    CapacityError
        If the image is too large to be encoded at once.
    StoreError
        If the file does not decode to the same pixels.
    """
    found = image.attributes.get("tiff") or image.attributes.get("raster") or {}
    alpha = _checked(image, found, path)
    channels, height, width = image.shape
    pixels = np.moveaxis(image.read(Box(0, height, 0, width), slice(0, channels)), 0, 2)
    pixels = np.ascontiguousarray(pixels[:, :, 0] if channels == 1 else pixels)
    bits = found.get("bits_per_sample")
    if not isinstance(bits, int) or bits > 8 * image.dtype.itemsize:
        bits = 8 * image.dtype.itemsize
    # level 0 is without loss
    stream = bytes(
        imagecodecs.jpeg2k_encode(
            pixels, level=0, codecformat="j2k", planar=False, bitspersample=bits, reversible=True
        )
    )
    if not np.array_equal(imagecodecs.jpeg2k_decode(stream), pixels):
        raise StoreError(
            f"{path.name}: the JPEG 2000 encoder has changed pixels; export a TIFF instead"
        )
    path.write_bytes(_file(stream, image, found, bits, alpha))


def _checked(image: ExportedImage, found: Mapping[str, Any], path: Path) -> int | None:
    """The kind of alpha of the last channel, None without; refuses what cannot be written."""
    channels, height, width = image.shape
    kinds = found.get("extra_samples") or []
    alpha = kinds[-1] if kinds and kinds[-1] in (_ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA) else None
    colours = channels - (alpha is not None)
    photometric = found.get("photometric", _RGB if colours == 3 else _GREY)
    if image.dtype.kind not in "iu" or image.dtype.itemsize > 2:
        raise UsageError(
            f"{image.origin}: pixels are {image.dtype.name}, JPEG 2000 holds integers of 16 bits at most; "
            "export a TIFF or FITS"
        )
    if found.get("pages") or (photometric, colours) not in ((_GREY, 1), (_RGB, 3)):
        raise UsageError(
            f"{image.origin}: {channels} planes that are neither one grey nor one RGB image; export a TIFF"
        )
    needed = math.prod((channels, height, width)) * _SAMPLE_BYTES
    if needed > SEGMENT_LIMIT_BYTES:
        raise CapacityError(
            f"{image.origin}: encoding JPEG 2000 takes {needed / 2**30:.1f} GiB at once, more than "
            f"{SEGMENT_LIMIT_BYTES / 2**30:.0f} GiB; export a TIFF, with --pyramid if it is to be served"
        )
    return alpha


def _file(
    stream: bytes, image: ExportedImage, found: Mapping[str, Any], bits: int, alpha: int | None
) -> bytes:
    """The boxes of a JP2 file around a codestream; ISO/IEC 15444-1, annex I."""
    channels, height, width = image.shape
    signed = 0x80 if image.dtype.kind == "i" else 0
    header = _box(
        b"ihdr", struct.pack(">IIHBBBB", height, width, channels, signed | (bits - 1), 7, 0, 0)
    )
    header += _colour(found, channels - (alpha is not None))
    if alpha is not None:
        kind = 1 if alpha == _UNASSOCIATED_ALPHA else 2
        places = [(n, 0, n + 1) for n in range(channels - 1)] + [(channels - 1, kind, 0)]
        header += _box(
            b"cdef",
            struct.pack(">H", channels) + b"".join(struct.pack(">HHH", *place) for place in places),
        )
    header += _resolution(scaled_resolution(found, image.factor), found)
    parts = [
        _box(b"jP  ", b"\r\n\x87\n"),
        _box(b"ftyp", b"jp2 \0\0\0\0jp2 "),
        _box(b"jp2h", header),
        _box(b"xml ", _origin(image, found)),
        *_metadata(image, found),
        _box(b"jp2c", stream),
    ]
    return b"".join(parts)


def _box(kind: bytes, content: bytes) -> bytes:
    if len(content) + 8 < 2**32:
        return struct.pack(">I4s", 8 + len(content), kind) + content
    return struct.pack(">I4sQ", 1, kind, 16 + len(content)) + content


def _colour(found: Mapping[str, Any], colours: int) -> bytes:
    """The profile of the input, or sRGB or grey without one."""
    if found.get("icc"):
        return _box(b"colr", b"\2\0\0" + base64.b64decode(found["icc"]))
    return _box(b"colr", struct.pack(">BBBI", 1, 0, 0, 17 if colours == 1 else 16))


def _resolution(ratios: list[tuple[int, int]] | None, found: Mapping[str, Any]) -> bytes:
    """Pixels per metre along y and x, as ratios of 16 bits and powers of ten."""
    per_metre = {2: Fraction(10000, 254), 3: Fraction(100)}.get(found.get("resolution_unit", 0))
    if ratios is None or per_metre is None or any(n == 0 for n, _ in ratios):
        return b""
    numbers, powers = b"", b""
    for top, bottom in reversed(ratios):
        value, power = Fraction(top, bottom) * per_metre, 0
        while value > _MOST_RATIO:
            value, power = value / 10, power + 1
        # both parts must fit in 16 bits
        most = int(_MOST_RATIO / value) if value > 1 else _MOST_RATIO
        near = value.limit_denominator(most)
        numbers += struct.pack(">HH", max(1, near.numerator), near.denominator)
        powers += struct.pack(">b", power)
    return _box(b"res ", _box(b"resc", numbers + powers))


def _origin(image: ExportedImage, found: Mapping[str, Any]) -> bytes:
    """An XML document that says which run wrote the file."""
    software = quoteattr(software_text(image, found).decode())
    run = quoteattr(str(image.run.get("run_id", "")))
    return (
        b'<?xml version="1.0" encoding="UTF-8"?>'
        + f"<glassplate software={software} run={run}/>".encode()
    )


def _metadata(image: ExportedImage, found: Mapping[str, Any]) -> list[bytes]:
    """XMP, IPTC and GeoTIFF in boxes of their own."""
    written = Written(image.factor, 1, image.shape[1:], image.dtype)
    plain = {**found, "exif": [], "gps": []}
    tags = extra_tags(plain, written, enhanced=image.is_enhanced)
    parts = []
    for code, name in ((_XMP, XMP_UUID), (_IPTC, IPTC_UUID)):
        value = next((tag[3] for tag in tags if tag[0] == code), None)
        if isinstance(value, bytes):
            parts.append(_box(b"uuid", name + value))
    geography = [tag for tag in tags if tag[0] in GEOGRAPHIC]
    if geography:
        parts.append(_box(b"uuid", GEO_UUID + _geotiff(geography)))
    return parts


def _geotiff(tags: list[Any]) -> bytes:
    """A TIFF of one pixel with geographic tags, as GeoJP2 has it."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((1, 1), np.uint8), extratags=tags, metadata=None)
    return stream.getvalue()


def is_own_jpeg2000(start: bytes) -> bool:
    """Whether the first megabytes of a file are those of a JP2 that `write_jpeg2000` wrote."""
    return start[4:8] == b"jP  " and any(
        kind == b"xml " and _ELEMENT in content for kind, content in boxes(start)
    )
