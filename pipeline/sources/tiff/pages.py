"""The pages of a TIFF file, and which of them is restored."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tifffile

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.source import ImageInfo, SourceSpec
from glassplate.pipeline.sources.tiff.as_seen import as_seen
from glassplate.pipeline.sources.tiff.directories import Place, page_at, places
from glassplate.pipeline.sources.tiff.infrared import is_infrared_page
from glassplate.pipeline.sources.tiff.restorable import (
    TRANSPARENCY_MASK,
    is_transparency_mask,
    why_not_restorable,
)
from glassplate.pipeline.text import one_line

# Levels of a pyramid are half as large as the one before, rounded up or down; some programs write thirds and
# quarters. A page that is smaller by less, or by no such number, is another image.
_LEVEL_STEPS = (2, 3, 4)
# Largest difference in pixels between a level's size and that of its image divided by a whole number.
_ROUNDING = 1.0
INFRARED_PAGE = "infrared, the mask of dust of another page"
# Pages that are looked at to say how many there are: a thousand take some tenths of a second.
_MOST_COUNTED = 999


@dataclass(frozen=True)
class ListedPage:
    """A page of a file."""

    place: Place
    info: ImageInfo
    copy_of: int | None = None
    """Number of the page of which this is a smaller copy: a level of a pyramid or a thumbnail."""


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
            pages = list_pages(tiff)
    if not pages:
        raise SourceError(f"{path}: the TIFF file has no page")
    return [page.info for page in pages], complaints


def list_pages(tiff: tifffile.TiffFile) -> list[ListedPage]:
    """Every page, up to the first that cannot be read; smaller copies are marked."""
    listed: list[ListedPage] = []
    original: ImageInfo | None = None
    before: ImageInfo | None = None
    for index, (place, page) in enumerate(_each_page(tiff)):
        info = page_info(index, page)
        copies = original is not None and (
            _is_reduced(page)
            or (_is_tiled(page) and before is not None and _is_level(info, before, original))
        )
        if copies and original is not None:
            note = f"a smaller copy of page {original.index}"
            info = replace(info, note=f"{note}; {info.note}" if info.note else note)
            listed.append(ListedPage(place, info, original.index))
        else:
            listed.append(ListedPage(place, info))
            if info.restorable and not _is_aside(page):
                original = info
        before = info
    return listed


def _is_reduced(page: Any) -> bool:
    return not isinstance(page, Exception) and bool(page.is_reduced)


def _is_aside(page: Any) -> bool:
    """Whether a page is no image of its own: a smaller copy, or the infrared plane of another page."""
    return _is_reduced(page) or is_infrared_page(page)


def _is_tiled(page: Any) -> bool:
    """Whether a page is stored in tiles, as pyramids are; scans of half the size are mostly not."""
    return not isinstance(page, Exception) and bool(page.is_tiled)


def _is_level(info: ImageInfo, before: ImageInfo, original: ImageInfo) -> bool:
    """Whether a page is the next level of a pyramid whose pages are not marked as smaller copies."""
    if len(info.shape) < 2 or info.dtype != original.dtype or len(info.shape) != len(before.shape):
        return False
    if info.shape[:-2] != original.shape[:-2]:
        return False
    for step in _LEVEL_STEPS:
        near = [
            abs(larger / step - smaller) <= _ROUNDING
            for larger, smaller in zip(before.shape[-2:], info.shape[-2:], strict=True)
        ]
        if all(near):
            return min(info.shape[-2:]) > 0
    return False


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


def _each_page(tiff: tifffile.TiffFile) -> Iterator[tuple[Place, Any]]:
    """Every page, up to the first that cannot be read; an exception stands in its place."""
    for index, place in enumerate(places(tiff)):
        page = page_at(tiff, index, place)
        yield place, page
        if isinstance(page, Exception):
            return


def find_page(
    tiff: tifffile.TiffFile, spec: SourceSpec, place: Place | None = None
) -> tuple[ImageInfo, Any]:
    """The page of `spec`; without a number the first that can be restored, rather no smaller copy.

    Parameters
    ----------
    place
        That of the page that `spec` names, where it is known.

    Raises
    ------
    SourceError
        If there is no such page or it cannot be restored.
    """
    if isinstance(spec.page, int):
        return _wished_page(tiff, spec, spec.page, place)
    thumbnail = None
    seen, whole = [], []
    for index, (_, page) in enumerate(_each_page(tiff)):
        info = page_info(index, page)
        seen.append(info)
        if not _is_aside(page) and not is_transparency_mask(info):
            whole.append(info)
        if info.restorable and not _is_aside(page):
            return replace(info, note=_with_others(tiff, info)), page
        if info.restorable and thumbnail is None:
            thumbnail = info, page
    why = "; ".join(f"page {i.index}: {i.reason}" for i in (whole or seen)[:20]) or "it has no page"
    if thumbnail is None:
        raise SourceError(f"{spec.path}: no image to restore: {why}")
    if whole:
        copy = thumbnail[0].index
        raise SourceError(
            f"{spec.path}: no image to restore but a smaller copy: {why}; --page {copy} takes the copy"
        )
    return thumbnail


def _with_others(tiff: tifffile.TiffFile, info: ImageInfo) -> str | None:
    """The note of a page that nobody named, with the number of the other pages that are no smaller copies."""
    others, before = 0, info
    for index, (_, page) in enumerate(_each_page(tiff)):
        if index == info.index or isinstance(page, Exception) or _is_aside(page):
            continue
        if int(page.photometric) == TRANSPARENCY_MASK:
            continue
        size = replace(info, index=index, **_size_of(page))
        if index > info.index and _is_tiled(page) and _is_level(size, before, info):
            before = size
            continue
        others += 1
        if others == _MOST_COUNTED:
            break
    if not others:
        return info.note
    more = " or more" if others == _MOST_COUNTED else ""
    note = (
        f"page {info.index} of {others + 1}{more} is restored; --page N or --page all takes others"
    )
    return f"{info.note}; {note}" if info.note else note


def _wished_page(
    tiff: tifffile.TiffFile, spec: SourceSpec, wished: int, place: Place | None
) -> tuple[ImageInfo, Any]:
    """The page of a number; pages before it are skipped without reading them."""
    if place is None:
        found = list(itertools.islice(places(tiff), wished + 1))
        if len(found) <= wished:
            raise SourceError(f"{spec.path}: no page {wished}; there are 0 to {len(found) - 1}")
        place = found[-1]
    page = page_at(tiff, wished, place)
    info = page_info(wished, page)
    if not info.restorable:
        raise SourceError(f"{spec.path}: page {wished}: {info.reason}")
    return info, page


def page_info(index: int, page: Any) -> ImageInfo:
    """What a page holds; an exception in the place of the page is its damage."""
    if isinstance(page, Exception):
        damage = f"damaged directory: {one_line(page)}"
        return ImageInfo(index, "", (), "", None, False, damage)
    name, note = "", None
    size: dict[str, Any] = {"shape": (), "dtype": ""}
    reason: str | None
    try:
        name = str(page.tags.valueof(285) or "")
        size = _size_of(page)
        reason = why_not_restorable(page)
        if reason is None:
            seen = as_seen(page)
            plane = size["shape"][-2:]
            shape = plane if seen.channels == 1 else (seen.channels, *plane)
            size, note = {"shape": shape, "dtype": seen.dtype.name}, seen.note
            if is_infrared_page(page):
                note = INFRARED_PAGE
    # `inspect` lists all pages of a file even where one cannot be read
    except Exception as error:
        reason = f"cannot be read: {one_line(error)}"
    restorable = reason is None
    return ImageInfo(
        index, name, unit=None, restorable=restorable, reason=reason, note=note, **size
    )


def _size_of(page: Any) -> dict[str, Any]:
    """Shape and type of the stored samples of a page; none where the type is not known."""
    if page.dtype is None:
        return {"shape": (), "dtype": ""}
    samples = page.shaped[0] * page.shaped[4]
    # RGB pages keep the axis of channels even with one sample
    plane = (int(page.shaped[2]), int(page.shaped[3]))
    return {"shape": (int(samples), *plane) if samples > 1 else plane, "dtype": page.dtype.name}
