"""Writes results as FITS: the file that was restored, with the pixels of its restored HDUs changed.

All HDUs of the input are there in their order. Those that were not restored are copied byte for byte, apart
from the primary header, which names the run. What cannot be carried over is named in HISTORY with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from astropy.io import fits

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.export.fits.cards import card, history_cards
from glassplate.pipeline.export.fits.hdu import raw_pieces, write_hdu
from glassplate.pipeline.export.fits.header import primary_cards, restored_cards
from glassplate.pipeline.export.fits.input import FitsInput, copy, opened_input
from glassplate.pipeline.export.fits.planes import Plane, plane_cards, plane_versions
from glassplate.pipeline.export.fits.tables import LookupTable, LookupTables, scaled_tables
from glassplate.pipeline.export.level import ExportedImage
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.fits.text import parsed
from glassplate.pipeline.sources.source import choose_working_dtype


def write_fits(
    images: Sequence[ExportedImage], path: Path, planes: Sequence[Plane] = ()
) -> tuple[str, ...]:
    """Write a new FITS file, with CHECKSUM and DATASUM in each HDU that is not a copy.

    Parameters
    ----------
    images
        Restored HDUs of one input, each at the place that it had.
    path
        File to write.
    planes
        Further extensions, which follow those of the input.

    Returns
    -------
    left_out
        Sentences that say which HDUs of the input could not be copied, and why; HISTORY has them too.

    Raises
    ------
    UsageError
        If the images are not different HDUs of one input.
    StoreError
        If the input changes while it is copied.
    """
    restored = _by_hdu(images)
    with (
        collected_warnings(images[0].origin),
        opened_input(images) as given,
        path.open("wb") as file,
    ):
        taken: dict[str, int] = {}
        tables = {
            hdu: scaled_tables(_header(image), given, image.factor, taken)
            for hdu, image in restored.items()
        }
        added = [table for one in tables.values() for table in one.added]
        count = max(len(given.spans), max(restored) + 1) if given.file else 1 + bool(max(restored))
        more = count - 1 + len(added) + len(planes)
        notes = [*given.left_out, *_grid_notes(restored, given)]
        if 0 in restored:
            _write_image(file, restored[0], tables[0], notes=notes, more=more)
        else:
            text = given.header_text(0) or images[0].attributes["fits"].get("primary", "")
            cards = primary_cards(text, images[0], [*_summary(restored), *notes])
            write_hdu(file, with_extensions(cards, more), given.data(0) if given.spans else ())
        for hdu in range(1, len(given.spans)) if given.file else sorted(set(restored) - {0}):
            if hdu in restored:
                _write_image(file, restored[hdu], tables[hdu])
            else:
                copy(file, given.hdu(hdu))
        _write_tables(file, added)
        for plane, version in zip(planes, plane_versions(planes), strict=True):
            write_hdu(file, plane_cards(plane, version), _pieces(plane.image))
        file.flush()
        os.fsync(file.fileno())
        return given.left_out


def with_extensions(cards: Sequence[str], count: int) -> list[str]:
    """Make the cards of a primary header say that `count` extensions follow it."""
    values = {"EXTEND  ": True, "NEXTEND ": count} if count else {}
    changed = []
    for text in cards:
        if text[:8] in values and text[8] == "=":
            comment = fits.Card.fromstring(text).comment
            text = card(text[:8].rstrip(), values.pop(text[:8]), comment)
        changed.append(text)
    if "EXTEND  " in values:
        structure = [place for place, text in enumerate(cards) if text.startswith("NAXIS")]
        changed.insert(structure[-1] + 1, card("EXTEND", True, "extensions follow"))
    return changed


def _by_hdu(images: Sequence[ExportedImage]) -> dict[int, ExportedImage]:
    """The images by the HDU that they were, in the order of the file."""
    found: dict[int, ExportedImage] = {}
    for image in images:
        if len({one.run.get("source", {}).get("sha256") for one in (images[0], image)}) > 1:
            raise UsageError(
                f"{images[0].origin} and {image.origin}: are not the same input; export each by itself"
            )
        if image.hdu in found:
            raise UsageError(
                f"{image.origin}: HDU {image.hdu} is given by two results; leave one out"
            )
        found[image.hdu] = image
    return dict(sorted(found.items()))


def _header(image: ExportedImage) -> fits.Header:
    return parsed(image.attributes.get("fits", {}).get("header", ""))


def _summary(restored: dict[int, ExportedImage]) -> Iterator[str]:
    """Yield the sentence that names the restored HDUs."""
    first = next(iter(restored.values()))
    names = ", ".join(
        f"{hdu} {image.attributes['fits'].get('name', '')}".strip()
        for hdu, image in restored.items()
    )
    yield f"{first.software} restored HDU {names} of {first.origin}; the others are as they were"


def _grid_notes(restored: dict[int, ExportedImage], given: FitsInput) -> Iterator[str]:
    """Yield the sentence about HDUs on another grid, if there are any."""
    if any(image.factor != 1 for image in restored.values()) and len(given.spans) > len(restored):
        yield "HDUs that were not restored are on the pixel grid of the input"


def _write_image(
    file: IO[bytes],
    image: ExportedImage,
    tables: LookupTables,
    *,
    notes: Sequence[str] = (),
    more: int = 0,
) -> None:
    """Append a restored HDU; `more` HDUs follow where it is the primary one."""
    bitpix = -32 if _stored(image) == ">f4" else -64
    cards = [*restored_cards(image, bitpix, tables), *history_cards(notes)]
    write_hdu(file, with_extensions(cards, more), _pieces(image))


def _stored(image: ExportedImage) -> str:
    if image.dtype == np.uint8:
        return ">f4"
    return ">f4" if choose_working_dtype(image.dtype) == np.float32 else ">f8"


def _pieces(image: ExportedImage) -> Iterator[memoryview]:
    """Yield the pixels plane by plane and band by band."""
    bands = (band for plane in range(image.shape[0]) for band in image.bands(plane))
    return raw_pieces(bands, _stored(image))


def _write_tables(file: IO[bytes], tables: Sequence[LookupTable]) -> None:
    for table in tables:
        stored = ">f4" if table.shifts.dtype == np.float32 else ">f8"
        write_hdu(file, table.cards, raw_pieces([table.shifts], stored))
