"""The chain of directories of a TIFF file: each describes a page and holds the offset of the next."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from typing import Any

import tifffile


def directories(tiff: tifffile.TiffFile) -> Iterator[int]:
    """Offsets of the directories; a chain that returns to an earlier one ends there, with a warning.

    tifffile follows such a loop until it has counted 2**32 pages.
    """
    file, form = tiff.filehandle, tiff.tiff
    places: dict[int, int] = {}
    offset = tiff.pages.first.offset if tiff.pages else 0
    while 0 < offset < file.size:
        if offset in places:
            warnings.warn(
                f"page {len(places) - 1} is followed by page {places[offset]} again; pages end there",
                stacklevel=2,
            )
            return
        file.seek(offset)
        start = file.read(form.tagnosize)
        if len(start) < form.tagnosize:
            return
        places[offset] = len(places)
        yield offset
        (count,) = struct.unpack(form.tagnoformat, start)
        end = offset + form.tagnosize + count * form.tagsize
        if end + form.offsetsize > file.size:
            return
        file.seek(end)
        link = file.read(form.offsetsize)
        (offset,) = struct.unpack(form.offsetformat, link)


def page_at(tiff: tifffile.TiffFile, index: int, place: int) -> Any:
    """The page whose directory is at an offset, or the exception that reading it raises."""
    try:
        tiff.filehandle.seek(place)
        return tifffile.TiffPage(tiff, index)
    # a damaged directory raises struct.error, ValueError, IndexError, ...
    except Exception as error:
        return error
