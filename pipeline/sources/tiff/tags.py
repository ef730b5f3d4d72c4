"""TIFF tags that are carried to the result: read as JSON, and written for another pixel size."""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from glassplate.pipeline.sources.exif import (
    directories_of,
    exif_directories,
    exif_tags,
    placeholders,
    read_directory,
)

# Codes and names of the carried tags. Tags of the encoding (strips, compression, predictor, JPEG tables)
# describe the file they are in and are not carried; resolution, profile and Software are handled by name.
CARRIED = {
    269: "DocumentName",
    270: "ImageDescription",
    271: "Make",
    272: "Model",
    274: "Orientation",
    285: "PageName",
    286: "XPosition",
    287: "YPosition",
    297: "PageNumber",
    301: "TransferFunction",
    306: "DateTime",
    315: "Artist",
    316: "HostComputer",
    318: "WhitePoint",
    319: "PrimaryChromaticities",
    332: "InkSet",
    333: "InkNames",
    334: "NumberOfInks",
    336: "DotRange",
    700: "XMP",
    33432: "Copyright",
    33550: "ModelPixelScale",
    33723: "IPTCNAA",
    33922: "ModelTiepoint",
    34264: "ModelTransformation",
    34377: "ImageResources",
    34735: "GeoKeyDirectory",
    34736: "GeoDoubleParams",
    34737: "GeoAsciiParams",
    40091: "XPTitle",
    40092: "XPComment",
    40093: "XPAuthor",
    40094: "XPKeywords",
    40095: "XPSubject",
    42112: "GDAL_METADATA",
    42113: "GDAL_NODATA",
}

_BYTE, _ASCII, _UNDEFINED = 1, 2, 7
_XMP, _IPTC, _SOFTWARE, _PROFILE = 700, 33723, 305, 34675
# Compressions that are JPEG: the old and the present kind, that of lossy DNG, and that of Aperio's slides.
JPEG_COMPRESSIONS = (6, 7, 34892, 33007)
# Format of the struct module for each TIFF type; a rational is two numbers.
_PACKED = {
    **{1: "B", 3: "H", 4: "I", 5: "2I", 6: "b", 7: "B", 8: "h", 9: "i", 10: "2i", 11: "f", 12: "d"},
    **{13: "I", 16: "Q", 17: "q", 18: "Q"},
}

_MOST_RATIONAL = 2**32 - 1
_RASTER_TYPE_KEY = 1025
_PIXEL_IS_POINT = 2

# Properties of XMP that state the size or the resolution of the image.
_XMP_SIZES = ("tiff:ImageWidth", "tiff:ImageLength", "exif:PixelXDimension", "exif:PixelYDimension")
_XMP_RESOLUTIONS = ("tiff:XResolution", "tiff:YResolution")


def read_tags(page: Any) -> dict[str, Any]:
    """The metadata of a page that the exports need, JSON-able; bytes as ``{"base64": ...}``.

    ``photometric`` describes the decoded pixels: JPEG strips of YCbCr are decoded to RGB. ``exif`` and
    ``gps`` are the entries of these directories, where there are any.
    """
    is_jpeg = int(page.compression) in JPEG_COMPRESSIONS
    photometric = 2 if int(page.photometric) == 6 and is_jpeg else int(page.photometric)
    bits = page.bitspersample
    found: dict[str, Any] = {
        "photometric": photometric,
        "compression": str(getattr(page.compression, "name", page.compression)),
        "bits_per_sample": int(bits) if isinstance(bits, int) else [int(b) for b in bits],
        "planar": int(page.planarconfig) == 2,
        "big_endian": page.parent.byteorder == ">",
        "extra_samples": [int(kind) for kind in page.extrasamples if isinstance(kind, int)],
        **_carried(page.tags),
    }
    profile = page.tags.valueof(_PROFILE)
    if isinstance(profile, bytes) and profile:
        found["icc"] = base64.b64encode(profile).decode()
    return found | _directories(page)


def described(
    exif: bytes | None = None, xmp: bytes | None = None, iptc: bytes | None = None
) -> dict[str, Any]:
    """The metadata in EXIF, XMP and IPTC of a PNG or JPEG, in the form of `read_tags`.

    A damaged EXIF block is ignored.
    """
    tags = exif_tags(exif) if exif else None
    found: dict[str, Any] = {}
    if exif and tags is not None:
        found = _carried(tags) | exif_directories(exif)
    blocks = ((_XMP, _BYTE, xmp), (_IPTC, _UNDEFINED, iptc))
    stated = [
        [code, CARRIED[code], dtype, len(block), jsonable(block)]
        for code, dtype, block in blocks
        if block
    ]
    codes = {tag[0] for tag in stated}
    kept = [tag for tag in found.get("tags", ()) if tag[0] not in codes]
    return {**found, "tags": kept + stated}


def _carried(tags: Any) -> dict[str, Any]:
    """The carried tags of a directory, its Software, and its resolution where that is complete."""
    found: dict[str, Any] = {
        "software": jsonable(tags.valueof(_SOFTWARE)),
        "tags": [
            [int(tag.code), tag.name, int(tag.dtype), int(tag.count), jsonable(tag.value)]
            for tag in tags
            if tag.code in CARRIED
        ],
    }
    ratios, unit = [tags.valueof(code) for code in (282, 283)], tags.valueof(296, 2)
    # some programs write 0/0 for "not known"
    if unit in (1, 2, 3) and all(_is_ratio(ratio) for ratio in ratios):
        found["resolution"] = [[int(n), int(d)] for n, d in ratios]
        found["resolution_unit"] = int(unit)
    return found


def _is_ratio(value: Any) -> bool:
    if not isinstance(value, tuple) or len(value) != 2:
        return False
    return all(isinstance(n, int) for n in value) and value[0] >= 0 and value[1] > 0


def _directories(page: Any) -> dict[str, Any]:
    """EXIF and GPS directories of a page."""
    tiff = page.parent

    def read(at: int, count: int) -> bytes:
        if at >= tiff.filehandle.size:
            return b""
        tiff.filehandle.seek(at)
        found: bytes = tiff.filehandle.read(count)
        return found

    main = read_directory(read, int(page.offset), tiff.byteorder, big=tiff.is_bigtiff)
    found: dict[str, Any] = directories_of(read, main, tiff.byteorder, big=tiff.is_bigtiff)
    return found


def jsonable(value: Any) -> Any:
    """The value of a tag as JSON; bytes as ``{"base64": ...}``, other types that JSON lacks as text."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, tuple | list | np.ndarray):
        return [jsonable(item) for item in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, str) else str(value)


def from_jsonable(value: Any) -> Any:
    """The inverse of `jsonable` for the values of tags."""
    if isinstance(value, Mapping):
        return base64.b64decode(value["base64"])
    if isinstance(value, list):
        return tuple(from_jsonable(item) for item in value)
    return value


def extra_tags(found: Mapping[str, Any], factor: float) -> list[tuple[int, int, int, Any, bool]]:
    """The carried tags for tifffile's writer, for pixels that are `factor` times finer.

    Geographic tags and the sizes in XMP are scaled; positions on the page, in units of length, are not.
    """
    is_point = _pixel_is_point(found)
    extra: list[tuple[int, int, int, Any, bool]] = []
    for code, _, dtype, count, stored in found.get("tags", ()):
        value = from_jsonable(stored)
        if code == _XMP and isinstance(value, bytes):
            value = scaled_xmp(value, factor)
            count = len(value)
        elif code in (33550, 33922, 34264) and _are_numbers(value):
            value = _scaled_geography(code, value, factor, is_point)
        elif isinstance(value, str):
            dtype, value = _ASCII, value.encode("utf-8")
        if _can_be_packed(dtype, count, value):
            extra.append((code, dtype, count, value, True))
    return [*extra, *placeholders(found)]


def _are_numbers(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(n, int | float) for n in value)


def _can_be_packed(dtype: int, count: int, value: Any) -> bool:
    """Whether a value fits its type; that of a damaged tag may not, and is not carried."""
    if isinstance(value, bytes):
        return dtype in (_BYTE, _ASCII, _UNDEFINED)
    numbers: Iterable[Any] = value if isinstance(value, tuple) else (value,)
    try:
        struct.pack(f"<{_PACKED[dtype] * count}", *numbers)
    except (KeyError, struct.error, OverflowError, TypeError):
        return False
    return True


def scaled_resolution(found: Mapping[str, Any], factor: float) -> list[tuple[int, int]] | None:
    """Resolution as ratios for pixels `factor` times finer; the page keeps its physical size."""
    if "resolution" not in found:
        return None
    return [_scaled_ratio(int(n), int(d), factor) for n, d in found["resolution"]]


def scaled_xmp(xmp: bytes, factor: float) -> bytes:
    """XMP with scaled sizes and resolutions; all other bytes are kept."""

    def resized(match: re.Match[bytes]) -> bytes:
        return match[1] + str(round(int(match[2]) * factor)).encode() + match[3]

    def refined(match: re.Match[bytes]) -> bytes:
        n, d = _scaled_ratio(int(match[2]), int(match[3] or 1), factor)
        return match[1] + f"{n}/{d}".encode() + match[4]

    for name in _XMP_SIZES:
        xmp = _xmp_pattern(name, rb"(\d{1,9})").sub(resized, xmp)
    for name in _XMP_RESOLUTIONS:
        xmp = _xmp_pattern(name, rb"(\d{1,9})(?:/([1-9]\d{0,8}))?").sub(refined, xmp)
    return xmp


def _xmp_pattern(name: str, value: bytes) -> re.Pattern[bytes]:
    # RDF has two spellings: name="5" and <name>5</name>
    start = re.escape(name).encode()
    return re.compile(b"(" + start + rb"\s*(?:=\s*[\"']|>)\s*)" + value + rb"(\s*(?:[\"']|</))")


def _scaled_ratio(numerator: int, denominator: int, factor: float) -> tuple[int, int]:
    ratio = Fraction(numerator, denominator) * Fraction(factor)
    # both parts must fit in 32 bits
    finest = int(_MOST_RATIONAL / max(float(ratio), 1.0))
    near = ratio.limit_denominator(max(1, finest))
    return min(near.numerator, _MOST_RATIONAL), near.denominator


def _pixel_is_point(found: Mapping[str, Any]) -> bool:
    keys = next((t[4] for t in found.get("tags", ()) if t[0] == 34735), None)
    if not isinstance(keys, list):
        return False
    entries = [keys[at : at + 4] for at in range(4, len(keys) - 3, 4)]
    return any(e[0] == _RASTER_TYPE_KEY and e[3] == _PIXEL_IS_POINT for e in entries)


def _scaled_geography(
    code: int, value: tuple[float, ...], factor: float, is_point: bool
) -> tuple[float, ...]:
    """A geographic tag for finer pixels.

    GeoTIFF 1.1, annex B: raster space counts from the corners of pixels, or for "point" from their centres.
    """
    scaled = list(value)
    shift = 0.5 if is_point else 0.0
    if code == 33550 and len(value) >= 2:
        scaled[0], scaled[1] = value[0] / factor, value[1] / factor
    elif code == 33922:
        for at in range(0, len(value) - 5, 6):
            for axis in (0, 1):
                scaled[at + axis] = factor * (value[at + axis] + shift) - shift
    elif code == 34264 and len(value) == 16:
        for row in (0, 4, 8):
            a, b = value[row], value[row + 1]
            scaled[row], scaled[row + 1] = a / factor, b / factor
            # place of the new origin on the old grid
            origin = shift / factor - shift
            scaled[row + 3] = value[row + 3] + (a + b) * origin
    return tuple(scaled)
