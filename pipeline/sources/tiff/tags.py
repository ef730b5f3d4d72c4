"""TIFF tags that are carried to the result, read as JSON."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from glassplate.pipeline.sources.metadata.exif import (
    directories_of,
    exif_directories,
    exif_tags,
    read_directory,
)
from glassplate.pipeline.sources.metadata.microscope import micrometres
from glassplate.pipeline.sources.tiff.as_seen import AsSeen
from glassplate.pipeline.sources.tiff.infrared import has_infrared_sample
from glassplate.pipeline.sources.tiff.tag_table import BY_NAME, CARRIED, why_dropped

_BYTE, _ASCII, _UNDEFINED = 1, 2, 7
_RESOURCES = 34377
_NODATA, _XMP, _IPTC, _SOFTWARE, _PROFILE = 42113, 700, 33723, 305, 34675
# Compressions that are JPEG: the old and the present kind, that of lossy DNG, and that of Aperio's slides.
JPEG_COMPRESSIONS = (6, 7, 34892, 33007)


def read_tags(page: Any, seen: AsSeen) -> dict[str, Any]:
    """The metadata of a page that the exports need, JSON-able; bytes as ``{"base64": ...}``.

    ``photometric`` and ``bits_per_sample`` describe the pixels that are read, as `seen` does: JPEG strips of
    YCbCr are decoded to RGB. ``min_is_white`` says that 0 is white in the file. ``exif`` and ``gps`` are the
    entries of these directories, where there are any. ``infrared`` says that the last sample is infrared.
    ``micrometres`` is the height and width of a pixel, if the description of a microscope states them.
    """
    is_decoded = int(page.compression) in JPEG_COMPRESSIONS or bool(page.is_subsampled)
    found: dict[str, Any] = {
        "photometric": 2 if seen.photometric == 6 and is_decoded else seen.photometric,
        "compression": str(getattr(page.compression, "name", page.compression)),
        "bits_per_sample": seen.bits,
        "planar": int(page.planarconfig) == 2,
        "big_endian": page.parent.byteorder == ">",
        "extra_samples": [int(kind) for kind in page.extrasamples if isinstance(kind, int)],
        **_carried(page.tags),
    }
    if seen.palette is not None or seen.bilevel:
        # it is one of the stored numbers, which are others now
        found["tags"] = [tag for tag in found["tags"] if tag[0] != _NODATA]
    if seen.white is not None:
        found["min_is_white"] = True
    if has_infrared_sample(page):
        found["infrared"], found["extra_samples"] = True, [0]
    profile = page.tags.valueof(_PROFILE)
    if isinstance(profile, bytes) and profile:
        found["icc"] = base64.b64encode(profile).decode()
    # OME and ImageJ describe all pages of a file in the first
    described_by = str(page.parent.pages.first.description)
    size = micrometres(described_by, found.get("resolution"), found.get("resolution_unit"))
    if size is not None:
        found["micrometres"] = size
    return found | _directories(page)


def described(
    exif: bytes | None = None,
    xmp: bytes | None = None,
    iptc: bytes | None = None,
    resources: bytes | None = None,
    texts: Mapping[int, str] | None = None,
) -> dict[str, Any]:
    """The metadata of a file that is no TIFF, in the form of `read_tags`.

    Parameters
    ----------
    exif
        A TIFF without pixels; a damaged one is ignored.
    xmp, iptc
        As TIFF holds them.
    resources
        Image resources of Photoshop.
    texts
        By the code of their tag in TIFF: texts that the file states elsewhere. Those of EXIF precede.
    """
    tags = exif_tags(exif) if exif else None
    found: dict[str, Any] = {}
    if exif and tags is not None:
        found = _carried(tags) | exif_directories(exif)
    blocks = (
        (_XMP, _BYTE, xmp),
        (_IPTC, _UNDEFINED, iptc),
        (_RESOURCES, _BYTE, resources),
    )
    stated = [
        [code, CARRIED[code], dtype, len(block), jsonable(block)]
        for code, dtype, block in blocks
        if block
    ]
    codes = {tag[0] for tag in stated}
    kept = [tag for tag in found.get("tags", ()) if tag[0] not in codes]
    codes |= {tag[0] for tag in kept}
    plain = dict(texts or {})
    software = found.get("software") or plain.pop(_SOFTWARE, None)
    stated += [
        [code, CARRIED[code], _ASCII, len(text.encode()) + 1, text]
        for code, text in plain.items()
        if code not in codes and text
    ]
    return {**found, "software": software, "tags": kept + stated}


def _carried(tags: Any) -> dict[str, Any]:
    """The carried tags of a directory, its Software, and its resolution where that is complete."""
    found: dict[str, Any] = {
        "software": jsonable(tags.valueof(_SOFTWARE)),
        "tags": [
            [int(tag.code), tag.name, int(tag.dtype), int(tag.count), jsonable(tag.value)]
            for tag in tags
            if why_dropped(int(tag.code), int(tag.dtype)) is None and tag.code not in BY_NAME
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
