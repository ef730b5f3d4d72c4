"""The pages of a TIFF file: where their pixels lie, and why some cannot be restored."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.jpeg_file import jpeg_damage
from glassplate.pipeline.sources.segments import SEGMENT_LIMIT_BYTES, RowLayout
from glassplate.pipeline.sources.source import ImageInfo, SourceSpec
from glassplate.pipeline.sources.tiff.directories import directories, page_at
from glassplate.pipeline.sources.tiff.nodata import NODATA_TAG, parse_nodata
from glassplate.pipeline.sources.tiff.tags import JPEG_COMPRESSIONS
from glassplate.pipeline.text import one_line

# Photometric interpretations whose numbers do not measure light or ink.
_NO_IMAGES = {
    3: "palette colours: its pixels are indices; convert it to RGB first",
    4: "a transparency mask",
    32803: "a colour filter mosaic (raw camera data); develop it first",
}
# Markers of the start and end of a JPEG.
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
# One strip is decoded to check that its codec works, unless decoding it takes noticeable time.
_TRIAL_BYTES = 64 << 20


def tiff_images(path: Path) -> tuple[list[ImageInfo], list[str]]:
    """Every page of a file, and the warnings of the reader.

    Raises
    ------
    SourceError
        If the file cannot be opened as TIFF at all.
    """
    with collected_warnings(path) as complaints:
        tiff = open_tiff(path, path)
        with tiff:
            infos = [_page_info(index, page) for index, page in _each_page(tiff)]
    if not infos:
        raise SourceError(f"{path}: the TIFF file has no page")
    return infos, complaints


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
        damage = _damage_of_jpeg(raw, page.jpegtables)
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


def open_tiff(path: Path, named: Path) -> tifffile.TiffFile:
    """Open the file `path`, which messages call `named`.

    Raises
    ------
    SourceError
        If it is no TIFF file or its first directory is damaged.
    """
    try:
        return tifffile.TiffFile(path)
    # a damaged directory raises struct.error, ValueError, IndexError, ...
    except Exception as error:
        raise SourceError(f"{named}: not a readable TIFF file: {one_line(error)}") from error


def _each_page(tiff: tifffile.TiffFile) -> Iterator[tuple[int, Any]]:
    """Every page with its index, up to the first that cannot be read; an exception stands in its place."""
    for index, place in enumerate(directories(tiff)):
        page = page_at(tiff, index, place)
        yield index, page
        if isinstance(page, Exception):
            return


def find_page(
    tiff: tifffile.TiffFile, spec: SourceSpec, *, bilevel: bool, place: int | None = None
) -> tuple[ImageInfo, Any]:
    """The page of `spec`; without a number the first that can be restored, a thumbnail only as a last resort.

    Parameters
    ----------
    place
        Offset of the directory of the page that `spec` names, where it is known.

    Raises
    ------
    SourceError
        If there is no such page or it cannot be restored.
    """
    if isinstance(spec.page, int):
        return _wished_page(tiff, spec, spec.page, place, bilevel)
    thumbnail = None
    seen = []
    for index, page in _each_page(tiff):
        info = _page_info(index, page, bilevel=bilevel)
        seen.append(info)
        if info.restorable and not page.is_reduced:
            return info, page
        if info.restorable and thumbnail is None:
            thumbnail = info, page
    if thumbnail is None:
        why = "; ".join(f"page {i.index}: {i.reason}" for i in seen[:20]) or "it has no page"
        raise SourceError(f"{spec.path}: no image to restore: {why}")
    return thumbnail


def _wished_page(
    tiff: tifffile.TiffFile, spec: SourceSpec, wished: int, place: int | None, bilevel: bool
) -> tuple[ImageInfo, Any]:
    """The page of a number; pages before it are skipped without reading them."""
    if place is None:
        places = list(itertools.islice(directories(tiff), wished + 1))
        if len(places) <= wished:
            raise SourceError(f"{spec.path}: no page {wished}; there are 0 to {len(places) - 1}")
        place = places[-1]
    page = page_at(tiff, wished, place)
    info = _page_info(wished, page, bilevel=bilevel)
    if not info.restorable:
        raise SourceError(f"{spec.path}: page {wished}: {info.reason}")
    return info, page


def _page_info(index: int, page: Any, *, bilevel: bool = False) -> ImageInfo:
    if isinstance(page, Exception):
        damage = f"damaged directory: {one_line(page)}"
        return ImageInfo(index, "", (), "", None, False, damage)
    name, dtype = "", ""
    shape: tuple[int, ...] = ()
    reason: str | None
    try:
        name = str(page.tags.valueof(285) or "")
        if page.dtype is not None:
            dtype = page.dtype.name
            samples = page.shaped[0] * page.shaped[4]
            # RGB pages keep the axis of channels even with one sample
            plane = (int(page.shaped[2]), int(page.shaped[3]))
            shape = (int(samples), *plane) if samples > 1 else plane
        reason = _not_restorable(page, bilevel)
    # `inspect` lists all pages of a file even where one cannot be read
    except Exception as error:
        reason = f"cannot be read: {one_line(error)}"
    return ImageInfo(index, name, shape, dtype, None, reason is None, reason)


def _not_restorable(page: Any, bilevel: bool) -> str | None:
    if page.dtype is None:
        return f"pixel type not supported: {page.bitspersample} bits, format {page.sampleformat}"
    if 0 in page.shaped:
        return f"zero size {page.shape}"
    if page.imagedepth > 1:
        return f"a volume of {page.imagedepth} slices"
    if int(page.photometric) in _NO_IMAGES:
        return _NO_IMAGES[int(page.photometric)]
    if page.dtype.kind == "b" and not bilevel:
        return "1 bit per pixel: there is no grey to restore"
    if page.dtype.kind == "c":
        return "complex numbers"
    return _unreadable(page)


def _unreadable(page: Any) -> str | None:
    """Why the pixels cannot be read: the file is truncated, a strip is too large, or its codec is unknown."""
    size = page.parent.filehandle.size
    layout = row_layout(page)
    if layout is not None:
        cut = layout.end > size
        return f"truncated: {size} bytes, pixels go on to {layout.end}" if cut else None
    high, wide = segment_shape(page)
    planes, _, height, width, _ = page.shaped
    segments = planes * -(-height // high) * -(-width // wide)
    offsets, counts = page.dataoffsets[:segments], page.databytecounts[:segments]
    if min(len(offsets), len(counts)) < segments:
        return f"damaged: {len(offsets)} of {segments} strips or tiles are listed"
    end = max(int(offset) + int(count) for offset, count in zip(offsets, counts, strict=True))
    if end > size:
        return f"truncated: the file has {size} bytes, its strips or tiles go on to byte {end}"
    needed = segment_bytes(page)
    if needed > SEGMENT_LIMIT_BYTES:
        return (
            f"one strip or tile decodes to {needed / 2**30:.1f} GiB, more than the "
            f"{SEGMENT_LIMIT_BYTES / 2**30:.0f} GiB that are held at once; save it in tiles first"
        )
    page.decode(None, 0)  # raises for an unknown codec
    written = next((n for n, count in enumerate(counts) if count), None)
    if needed <= _TRIAL_BYTES and written is not None:
        return _trial(page, written)
    return None


def _trial(page: Any, index: int) -> str | None:
    file = os.open(page.parent.filehandle.path, os.O_RDONLY)
    try:
        decode_segment(page, file, index)
    except SourceError as error:
        return str(error).split(": ", 2)[-1]
    finally:
        os.close(file)
    return None


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
