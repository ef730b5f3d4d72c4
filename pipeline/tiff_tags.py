"""TIFF tags that travel: read from a page as JSON, written back with a changed pixel size."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

# Code -> name of what an archive wants to keep. Tags of the encoding (strips, compression,
# predictor, JPEG tables) belong to the file they are in; resolution, profile and Software are
# handled by name.
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
    42112: "GDAL_METADATA",
    42113: "GDAL_NODATA",
}

_ASCII = 2
_MOST_RATIONAL = 2**32 - 1
_RASTER_TYPE_KEY = 1025
_PIXEL_IS_POINT = 2

# Of the XMP, what states the size or the resolution of the image.
_XMP_SIZES = ("tiff:ImageWidth", "tiff:ImageLength", "exif:PixelXDimension", "exif:PixelYDimension")
_XMP_RESOLUTIONS = ("tiff:XResolution", "tiff:YResolution")


def read_tags(page: Any) -> dict[str, Any]:
    """What the exports need of a page, JSON-able; bytes as ``{"base64": ...}``.

    ``photometric`` is that of the decoded pixels: JPEG strips of YCbCr come out as RGB.
    """
    tags = [
        [int(tag.code), tag.name, int(tag.dtype), int(tag.count), jsonable(tag.value)]
        for tag in page.tags
        if tag.code in CARRIED
    ]
    is_jpeg = int(page.compression) in (6, 7, 34892, 33007)
    photometric = 2 if int(page.photometric) == 6 and is_jpeg else int(page.photometric)
    bits = page.bitspersample
    found: dict[str, Any] = {
        "photometric": photometric,
        "compression": str(getattr(page.compression, "name", page.compression)),
        "bits_per_sample": int(bits) if isinstance(bits, int) else [int(b) for b in bits],
        "planar": int(page.planarconfig) == 2,
        "big_endian": page.parent.byteorder == ">",
        "extra_samples": [int(kind) for kind in page.extrasamples],
        "software": jsonable(page.tags.valueof(305)),
        "tags": tags,
    }
    if 282 in page.tags and 283 in page.tags:
        x, y = page.tags.valueof(282), page.tags.valueof(283)
        if x[1] and y[1]:  # some writers put 0/0 for "not known"
            found["resolution"] = [[int(x[0]), int(x[1])], [int(y[0]), int(y[1])]]
            found["resolution_unit"] = int(page.tags.valueof(296, 2))
    if page.iccprofile:
        found["icc"] = base64.b64encode(page.iccprofile).decode()
    if 34665 in page.tags:
        found["exif"] = jsonable(page.tags.valueof(34665))
    return found


def jsonable(value: Any) -> Any:
    """A tag's value as JSON; bytes as ``{"base64": ...}``, what JSON lacks as text."""
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
    """Carried tags for tifffile's writer, for pixels `factor` times finer.

    The geographic tags and the sizes stated in XMP follow the pixels; positions on the page, in
    units of length, stay.
    """
    is_point = _pixel_is_point(found)
    extra = []
    for code, _, dtype, count, stored in found.get("tags", ()):
        value = from_jsonable(stored)
        if value is None:
            continue
        if code == 700 and isinstance(value, bytes):
            value = scaled_xmp(value, factor)
            count = len(value)
        elif code in (33550, 33922, 34264) and isinstance(value, tuple):
            value = _scaled_geography(code, value, factor, is_point)
        elif dtype == _ASCII and isinstance(value, str):
            value = value.encode("utf-8")
        extra.append((code, dtype, count, value, True))
    return extra


def scaled_resolution(found: Mapping[str, Any], factor: float) -> list[tuple[int, int]] | None:
    """Resolution for pixels `factor` times finer, as ratios; the page keeps its physical size."""
    if "resolution" not in found:
        return None
    return [_scaled_ratio(int(n), int(d), factor) for n, d in found["resolution"]]


def scaled_xmp(xmp: bytes, factor: float) -> bytes:
    """XMP whose statements of size and resolution follow the pixels; the rest byte for byte."""

    def resized(match: re.Match[bytes]) -> bytes:
        return match[1] + str(round(int(match[2]) * factor)).encode() + match[3]

    def refined(match: re.Match[bytes]) -> bytes:
        n, d = _scaled_ratio(int(match[2]), int(match[3] or 1), factor)
        return match[1] + f"{n}/{d}".encode() + match[4]

    for name in _XMP_SIZES:
        xmp = _xmp_pattern(name, rb"(\d+)").sub(resized, xmp)
    for name in _XMP_RESOLUTIONS:
        xmp = _xmp_pattern(name, rb"(\d+)(?:/([1-9]\d*))?").sub(refined, xmp)
    return xmp


def _xmp_pattern(name: str, value: bytes) -> re.Pattern[bytes]:
    # both spellings of RDF: name="5" and <name>5</name>
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
    """GeoTIFF 1.1, annex B: raster space counts from pixel corners, or from centres for points."""
    scaled = list(value)
    shift = 0.5 if is_point else 0.0
    if code == 33550:
        scaled[0], scaled[1] = value[0] / factor, value[1] / factor
    elif code == 33922:
        for at in range(0, len(value) - 5, 6):
            for axis in (0, 1):
                scaled[at + axis] = factor * (value[at + axis] + shift) - shift
    elif len(value) == 16:
        for row in (0, 4, 8):
            a, b = value[row], value[row + 1]
            scaled[row], scaled[row + 1] = a / factor, b / factor
            # the old place of the new origin
            origin = shift / factor - shift
            scaled[row + 3] = value[row + 3] + (a + b) * origin
    return tuple(scaled)
