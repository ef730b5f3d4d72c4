"""All pages of a TIFF file as the planes of a cube: the frames of a sequence, the leaves of a book."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.source import (
    MOST_JOINT_PLANES,
    FileSource,
    Format,
    ImageInfo,
    Pixels,
    SourceSpec,
)
from glassplate.pipeline.sources.tiff.image import TiffSource
from glassplate.pipeline.sources.tiff.page_tags import tags_of_pages
from glassplate.pipeline.sources.tiff.pages import INFRARED_PAGE, ListedPage, list_pages, open_tiff
from glassplate.pipeline.sources.tiff.restorable import is_transparency_mask
from glassplate.pipeline.tile_grid import Box

# Largest number of open pages, each of which holds two file handles and decoded strips.
MOST_OPEN = 4


class PagesSource(FileSource):
    """All pages of a TIFF file, of one shape and type, as planes ``(page * colours, y, x)``.

    Smaller copies of a page, the levels of a pyramid and thumbnails, and transparency masks are left out.
    """

    format: Format = "tiff"

    def __init__(self, spec: SourceSpec, path: Path) -> None:
        """Check every page of the plain file `path`, and open the first.

        Raises
        ------
        SourceError
            If a page cannot be restored, or has alpha, or another shape or type than the first.
        """
        if spec.hdu is not None:
            raise UsageError(f"{spec.path}: --hdu is for FITS, this is TIFF; use --page")
        self.spec, self._path = spec, path
        with collected_warnings(path) as complaints, open_tiff(path, spec.path) as tiff:
            listed = list_pages(tiff)
            self._kept = [page for page in listed if not _is_left_out(page)] or listed[:1]
            for page in self._kept:
                _check(spec, page.info, self._kept[0].info)
            tags = tags_of_pages(tiff, [(page.info.index, page.place) for page in self._kept])
        self._opened: OrderedDict[int, TiffSource] = OrderedDict()
        first = self._page(0)
        if first.metadata["tiff"].get("extra_samples"):
            self.close()
            raise SourceError(
                f"{spec.path}: its pages have samples beside their colours, such as alpha, which is not "
                "read of all pages at once; restore them by their numbers with --page"
            )
        pages, planes = len(self._kept), first.shape[0]
        self.colours = planes if planes <= MOST_JOINT_PLANES else 1
        self._take((pages * planes, *first.shape[1:]), first.dtype)
        self.joint = False
        note = _note(self._kept, listed)
        self.info: ImageInfo = replace(first.info, shape=self.shape, note=note)
        self.unit = first.unit
        self.resident_bytes = min(MOST_OPEN, pages) * first.resident_bytes
        self._planes = planes
        found = {**first.metadata["tiff"], "pages": pages, "warnings": list(complaints)}
        if any(tags):
            found["tags_of_pages"] = tags
        if note:
            found["note"] = note
        self.metadata: dict[str, Any] = {"tiff": found}

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box of some planes, or of all."""
        first, last = channels or (0, self.shape[0])
        parts = []
        for page in range(first // self._planes, (last - 1) // self._planes + 1):
            start = page * self._planes
            of_page = max(first - start, 0), min(last - start, self._planes)
            parts.append(self._page(page).read(box, of_page))
        return Pixels(
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.valid for part in parts]),
        )

    def _page(self, number: int) -> TiffSource:
        if number in self._opened:
            self._opened.move_to_end(number)
            return self._opened[number]
        while len(self._opened) >= MOST_OPEN:
            self._opened.popitem(last=False)[1].close()
        page = self._kept[number]
        spec = replace(self.spec, page=page.info.index)
        self._opened[number] = TiffSource(spec, self._path, page.place)
        return self._opened[number]

    def close(self) -> None:
        """Close the pages that are open."""
        while self._opened:
            self._opened.popitem()[1].close()


def _is_left_out(page: ListedPage) -> bool:
    aside = is_transparency_mask(page.info) or page.info.note == INFRARED_PAGE
    return page.copy_of is not None or aside


def _note(kept: Sequence[ListedPage], listed: Sequence[ListedPage]) -> str | None:
    """What is not read, and what is done to the pixels of the first page."""
    left_out = len(listed) - len(kept)
    notes = [kept[0].info.note] if kept[0].info.note else []
    if left_out:
        many = "1 page is" if left_out == 1 else f"{left_out} pages are"
        notes.append(
            f"{many} left out: smaller copies of the others (levels of a pyramid, thumbnails), or masks"
        )
    return "; ".join(notes) or None


def _check(spec: SourceSpec, info: ImageInfo, first: ImageInfo) -> None:
    """Refuse a page that does not match the first."""
    way_out = "restore it by its number with --page"
    if not info.restorable:
        raise SourceError(f"{spec.path}: page {info.index}: {info.reason}; {way_out}")
    if (info.shape, info.dtype) != (first.shape, first.dtype):
        raise SourceError(
            f"{spec.path}: page {info.index} is {_described(info)}, page {first.index} "
            f"{_described(first)}; {way_out}"
        )


def _described(info: ImageInfo) -> str:
    return f"{' x '.join(str(length) for length in info.shape)} {info.dtype}"
