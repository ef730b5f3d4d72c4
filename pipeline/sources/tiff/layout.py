"""Where the pixels of a page lie in its file, and decoding one of its strips or tiles."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.sources.raster.jpeg import jpeg_damage, jpeg_shortage
from glassplate.pipeline.sources.segments import RowLayout
from glassplate.pipeline.sources.tiff.nodata import NODATA_TAG, parse_nodata
from glassplate.pipeline.sources.tiff.tags import JPEG_COMPRESSIONS
from glassplate.pipeline.text import one_line

# Markers of the start and end of a JPEG.
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


def decode_segment(page: Any, file: int, index: int) -> npt.NDArray[Any]:
    """Decode one strip or tile, ``(h, w, samples)``; one that was never written is "no data".

    Raises
    ------
    SourceError
        If it cannot be decoded.
    """
    offset, count = int(page.dataoffsets[index]), int(page.databytecounts[index])
    raw = os.pread(file, count, offset) if count and offset else None
    tables = {}
    damage = None
    if int(page.compression) in JPEG_COMPRESSIONS:
        tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
        damage = _damage_of_jpeg(raw, page.jpegtables) or _shortage_of_jpeg(raw, page, index)
    try:
        if damage is not None:
            raise ValueError(damage)
        data, _, shape = page.decode(raw, index, **tables)
    # codecs, struct and numpy raise many kinds of exceptions
    except Exception as error:
        kind = "tile" if page.is_tiled else "strip"
        raise SourceError(
            f"{page.parent.filehandle.path}: page {page.index}: {kind} {index} cannot be decoded: "
            f"{one_line(error)[:200]}"
        ) from error
    if data is None:
        return np.full(shape[1:], nodata_of(page) or 0, page.dtype)
    segment: npt.NDArray[Any] = data[0].astype(page.dtype, copy=False)  # (h, w, samples)
    return segment


def nodata_of(page: Any) -> float | int | None:
    """The "no data" value of a page, as GDAL writes it; None where there is none."""
    dtype = np.dtype(np.uint8) if page.dtype.kind == "b" else page.dtype
    return parse_nodata(page.tags.valueof(NODATA_TAG), dtype)


def _damage_of_jpeg(raw: bytes | None, tables: bytes | None) -> str | None:
    """What is wrong with a JPEG strip or tile, whose tables may be stored in a tag; None if nothing is."""
    if raw is None or not raw.startswith(_JPEG_START):
        return None  # the older kind of JPEG in TIFF, whose parts lie anywhere in the file
    if tables and tables.startswith(_JPEG_START):
        raw = tables.removesuffix(_JPEG_END) + raw[len(_JPEG_START) :]
    return jpeg_damage(raw)


def _shortage_of_jpeg(raw: bytes | None, page: Any, index: int) -> str | None:
    """What a JPEG strip or tile lacks of its pixels; None if nothing.

    tifffile decodes it to the size in the directory, whatever the size in the JPEG is.
    """
    if raw is None or page.jpegheader is not None:
        return None  # a part of one large JPEG has no size of its own
    segment_height, segment_width = segment_shape(page)
    _, _, height, width, _ = page.shaped
    across, down = -(-width // segment_width), -(-height // segment_height)
    row, column = divmod(index % (across * down), across)
    least_height = min(segment_height, height - row * segment_height)
    least_width = min(segment_width, width - column * segment_width)
    return jpeg_shortage(raw, least_height, least_width)


def segment_shape(page: Any) -> tuple[int, int]:
    """Height and width of a strip or tile."""
    if page.is_tiled:
        return int(page.tilelength), int(page.tilewidth)
    return int(page.rowsperstrip), int(page.imagewidth)


def segment_bytes(page: Any) -> int:
    """Memory that one decoded strip or tile takes."""
    high, wide = segment_shape(page)
    return int(high * wide * page.shaped[4] * page.dtype.itemsize)


def row_layout(page: Any) -> RowLayout | None:
    """Where the pixels lie, if they are stored row by row, without encoding or gaps; else None."""
    if not page.is_final:
        return None
    planes, _, height, width, samples = page.shaped
    dtype = page.dtype.newbyteorder(page.parent.byteorder)
    return RowLayout(int(page.dataoffsets[0]), planes, height, width, samples, dtype)
