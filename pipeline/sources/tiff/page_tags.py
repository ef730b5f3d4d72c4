"""The tags of each page of a file of several: those of the first page, and what is different in another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import tifffile

from glassplate.pipeline.sources.tiff.as_seen import as_seen
from glassplate.pipeline.sources.tiff.directories import Place, page_at
from glassplate.pipeline.sources.tiff.tags import read_tags

# What may differ from page to page; the type and meaning of the pixels do not.
_DIFFERING = ("software", "resolution", "resolution_unit", "icc", "exif", "gps")


def tags_of_pages(
    tiff: tifffile.TiffFile, pages: Iterable[tuple[int, Place]]
) -> list[dict[str, Any]]:
    """What differs from the first page, for each page, as `of_page` takes it; {} where nothing does.

    Parameters
    ----------
    tiff
        An open file.
    pages
        Number and place of each page.
    """
    differences: list[dict[str, Any]] = []
    first: dict[str, Any] | None = None
    for index, place in pages:
        page = page_at(tiff, index, place)
        # pages that lie behind one directory share its tags
        found = first if place.plane and first is not None else read_tags(page, as_seen(page))
        first = first or found
        differences.append(_difference(first, found))
    return differences


def _difference(first: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    different = {key: found.get(key) for key in _DIFFERING if found.get(key) != first.get(key)}
    changed = [tag for tag in found["tags"] if tag not in first["tags"]]
    codes = {tag[0] for tag in found["tags"]}
    without = [tag[0] for tag in first["tags"] if tag[0] not in codes]
    if changed:
        different["tags"] = changed
    if without:
        different["without"] = without
    return different


def of_page(found: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The metadata of one page, from that of the first in the form of `read_tags` and the differences."""
    differences = found.get("tags_of_pages") or []
    different = dict(differences[number]) if number < len(differences) else {}
    changed, without = different.pop("tags", []), set(different.pop("without", []))
    without |= {tag[0] for tag in changed}
    kept = [tag for tag in found.get("tags", ()) if tag[0] not in without]
    merged = {**found, **different, "tags": kept + changed}
    return {key: value for key, value in merged.items() if value is not None}
