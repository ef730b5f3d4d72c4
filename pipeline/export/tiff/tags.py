"""The tags of an export: those of its input, adapted to its pixels."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from glassplate.pipeline.export.level import ExportedImage
from glassplate.pipeline.export.tiff.description import (
    Written,
    adapted_description,
    without_statistics,
)
from glassplate.pipeline.export.tiff.resources import adapted_resources
from glassplate.pipeline.export.tiff.xmp import scaled_ratio, scaled_xmp, with_source_type
from glassplate.pipeline.sources.metadata.exif import placeholders
from glassplate.pipeline.sources.tiff.tag_table import why_dropped

_BYTE, _ASCII, _UNDEFINED = 1, 2, 7
_DESCRIPTION, _XMP, _RESOURCES, _GDAL = 270, 700, 34377, 42112
# Format of the struct module for each TIFF type; a rational is two numbers.
_PACKED = {
    **{1: "B", 3: "H", 4: "I", 5: "2I", 6: "b", 7: "B", 8: "h", 9: "i", 10: "2i", 11: "f", 12: "d"},
    **{13: "I", 16: "Q", 17: "q", 18: "Q"},
}
_RASTER_TYPE_KEY = 1025
_PIXEL_IS_POINT = 2

ExtraTag = tuple[int, int, int, Any, bool]
"""Code, type, count, value and whether it is written to the first page only, as tifffile takes them."""


def from_jsonable(value: Any) -> Any:
    """The inverse of `jsonable` for the values of tags."""
    if isinstance(value, Mapping):
        return base64.b64decode(value["base64"])
    if isinstance(value, list):
        return tuple(from_jsonable(item) for item in value)
    return value


def extra_tags(found: Mapping[str, Any], written: Written, *, enhanced: bool) -> list[ExtraTag]:
    """The carried tags of a page for tifffile's writer.

    Geographic tags, and the sizes in descriptions, XMP and image resources, are those of the pixels that are
    written; positions on the page, in units of length, stay.

    Parameters
    ----------
    found
        Metadata of the input in the form of `read_tags`.
    written
        The file that is written.
    enhanced
        Whether XMP says that a program has changed the image.
    """
    is_point = _pixel_is_point(found)
    extra: list[ExtraTag] = []
    xmp: bytes | None = None
    for code, _, dtype, count, stored in found.get("tags", ()):
        value = from_jsonable(stored)
        if why_dropped(code, dtype, enlarged=written.factor != 1) is not None:
            continue
        if code == _XMP and isinstance(value, bytes):
            xmp = scaled_xmp(value, written.factor)
            continue
        if code in (33550, 33922, 34264) and _are_numbers(value):
            value = _scaled_geography(code, value, written.factor, is_point)
        elif code == _RESOURCES and isinstance(value, bytes):
            value = adapted_resources(value, written.factor)
            count = len(value)
        elif isinstance(value, str):
            dtype, value = _ASCII, _adapted_text(code, value, written).encode("utf-8")
        if value != b"" and _can_be_packed(dtype, count, value):
            extra.append((code, dtype, count, value, True))
    if enhanced:
        xmp = with_source_type(xmp)
    if xmp:
        extra.append((_XMP, _BYTE, len(xmp), xmp, True))
    return [*extra, *placeholders(found)]


def _adapted_text(code: int, text: str, written: Written) -> str:
    """A text for what is written; empty where it is dropped."""
    if code == _DESCRIPTION:
        return adapted_description(text, written) or ""
    return without_statistics(text) if code == _GDAL else text


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
    return [scaled_ratio(int(n), int(d), factor) for n, d in found["resolution"]]


def resolution_of_microscope(
    found: Mapping[str, Any], factor: float
) -> list[tuple[int, int]] | None:
    """Pixels in a centimetre, as ratios along x and y, by the description of a microscope; None without."""
    if "micrometres" not in found:
        return None
    y, x = found["micrometres"]
    ratios = [Fraction(factor * 1e4 / length).limit_denominator(10_000) for length in (x, y)]
    if not all(0 < ratio.numerator < 2**32 for ratio in ratios):
        return None
    return [(ratio.numerator, ratio.denominator) for ratio in ratios]


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


def software_text(image: ExportedImage, found: Mapping[str, Any]) -> bytes:
    """The tag Software: what wrote the file, and the first program that wrote its input."""
    run = image.run
    text = f"{image.software}; recipe {run.get('recipe', '')}; run {run.get('run_id', '')}"
    if image.removed is not None:
        text += f"; strength {image.strength:g}"
    before = found.get("software")
    if isinstance(before, str) and before.strip():
        # after several restorations, name the last one and the first program
        first = before.rpartition("input by ")[2] if before.startswith("glassplate") else before
        if not first.startswith("glassplate"):
            text += f"; input by {first.strip()}"
    return text.encode("utf-8")


def turned_text() -> ExtraTag:
    """A description that says that the rows of a FITS image are in the order of TIFF."""
    text = b"Rows are counted from the top; those of the FITS input are counted from the bottom."
    return (_DESCRIPTION, _ASCII, len(text) + 1, text, True)
