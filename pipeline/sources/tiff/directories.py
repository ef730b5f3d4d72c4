"""The chain of directories of a TIFF file: each describes a page and holds the offset of the next."""

from __future__ import annotations

import math
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tifffile


@dataclass(frozen=True)
class Place:
    """Where a page is described."""

    offset: int
    """Of its directory."""
    plane: int = 0
    """Number of the page among those that lie one after another behind one directory."""


def places(tiff: tifffile.TiffFile) -> Iterator[Place]:
    """The pages of a file, those that lie behind one directory or below a small picture included.

    A chain that returns to an earlier directory ends there, with a warning.
    """
    count = 0
    for offset in directories(tiff):
        count += 1
        yield Place(offset)
    first = tiff.pages.first if count else None
    if first is not None and first.is_reduced and first.subifds:
        # DNG and other raw files begin with a small picture, and list the image itself below it
        yield from (Place(int(offset)) for offset in first.subifds)
    elif count == 1 and not _next(tiff, offset):
        yield from (Place(offset, plane) for plane in range(1, planes_behind(tiff)))


def directories(tiff: tifffile.TiffFile) -> Iterator[int]:
    """Offsets of the directories.

    tifffile follows a chain that returns to an earlier directory until it has counted 2**32 pages.
    """
    seen: dict[int, int] = {}
    offset = tiff.pages.first.offset if tiff.pages else 0
    while 0 < offset < tiff.filehandle.size:
        if offset in seen:
            warnings.warn(
                f"page {len(seen) - 1} is followed by page {seen[offset]} again; pages end there",
                stacklevel=2,
            )
            return
        following = _next(tiff, offset)
        if following is None:
            return
        seen[offset] = len(seen)
        yield offset
        offset = following


def _next(tiff: tifffile.TiffFile, offset: int) -> int | None:
    """Where the next directory is, 0 after the last or a link that is cut off; None if none is here."""
    file, form = tiff.filehandle, tiff.tiff
    file.seek(offset)
    start = file.read(form.tagnosize)
    if len(start) < form.tagnosize:
        return None
    (count,) = struct.unpack(form.tagnoformat, start)
    end = offset + form.tagnosize + count * form.tagsize
    if end + form.offsetsize > file.size:
        return 0
    file.seek(end)
    (following,) = struct.unpack(form.offsetformat, file.read(form.offsetsize))
    return int(following)


def planes_behind(tiff: tifffile.TiffFile) -> int:
    """Number of images that lie behind the only directory of a file, one after another.

    ImageJ, MetaMorph and tifffile write such files: one directory, and its description says how many images
    there are. Fewer are counted if the file ends before.
    """
    page = tiff.pages.first
    if not page.is_final or page.nbytes == 0:
        return 1
    try:
        count = _stated(tiff, page)
    # the parsers of descriptions raise nearly anything
    except Exception:
        return 1
    room = (tiff.filehandle.size - int(page.dataoffsets[0])) // page.nbytes
    if count > room:
        warnings.warn(
            f"the description says {count} images, the file ends after {room}", stacklevel=2
        )
    return max(1, int(min(count, room)))


def _stated(tiff: tifffile.TiffFile, page: Any) -> int:
    """Number of images that the description of the only page states."""
    if page.is_imagej:
        # the series of a file that ends too early has one image
        return int(tiff.imagej_metadata.get("images", 1))
    series = tiff.series[0]
    if series.dtype != page.dtype or series.shape[-len(page.shape) :] != page.shape:
        return 1
    return int(math.prod(series.shape) // math.prod(page.shape))


def page_at(tiff: tifffile.TiffFile, index: int, place: Place) -> Any:
    """The page at a place, or the exception that reading it raises."""
    try:
        tiff.filehandle.seek(place.offset)
        page = tifffile.TiffPage(tiff, index)
        if place.plane:
            start = int(page.dataoffsets[0]) + place.plane * page.nbytes
            page.dataoffsets, page.databytecounts = (start,), (page.nbytes,)
    # a damaged directory raises struct.error, ValueError, IndexError, ...
    except Exception as error:
        return error
    return page
