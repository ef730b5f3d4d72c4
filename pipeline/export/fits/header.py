"""The header of a restored HDU: the input's cards, changes to them, and the origin of the image."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from astropy.io import fits

from glassplate.pipeline.export.fits.cards import (
    as_allowed,
    card,
    history_cards,
    record_name,
    replaced_characters,
    stored_cards,
)
from glassplate.pipeline.export.fits.tables import LookupTables
from glassplate.pipeline.export.fits.wcs import HeaderChanges, header_changes
from glassplate.pipeline.export.fits.wcs_check import wcs_disagreement
from glassplate.pipeline.export.level import ExportedImage
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.fits.text import parsed

# Cards of the structure, which are written anew, checksums, and cards of an earlier export.
_REPLACED = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|CHECKSUM|DATASUM"
    r"|GPVERS|GPRUNID|GPRECIPE|GPSCALE|GPLEVEL|GPSTREN|GPSOURCE|GPSHA256"
)
# Cards about how the input stores its numbers. The pixels of the export are plain floats.
_STORAGE = re.compile(
    r"BSCALE|BZERO|BLANK|NPIX[12]|PIXVALUE|ZIMAGE|ZTENSION|ZBITPIX|ZNAXIS\d*|ZPCOUNT|ZGCOUNT|ZTILE\d+"
    r"|ZCMPTYPE|ZNAME\d+|ZVAL\d+|ZMASKCMP|ZQUANTIZ|ZDITHER0|ZSIMPLE|ZEXTEND|ZBLOCKED|ZBLANK|ZSCALE|ZZERO"
    r"|ZHECKSUM|ZDATASUM"
)
# Cards about the range of the input's pixels.
_EXTREMA = re.compile(r"DATAMIN|DATAMAX")
# Places of bytes in the input, which Rubin's files have; other HDUs of the export lie elsewhere.
_BYTE_PLACES = re.compile(r"INDXADDR|INDXSIZE|JSONADDR|JSONSIZE")
# What a primary header says that was not restored itself.
_OF_THE_FILE = frozenset({"GPVERS", "GPRUNID", "GPSOURCE", "GPSHA256"})
# Cards that describe noise and range of the input. They stay, and HISTORY says so.
_DETECTOR = ("GAIN", "RDNOISE", "READNOIS", "SATURATE")

_LEFT_OUT = (
    (_STORAGE, "they say how the input stores its pixels"),
    (_EXTREMA, "they are the extrema of the input's pixels"),
    (_BYTE_PLACES, "they are places of bytes in the input's file"),
)

# Largest disagreement of the sky positions without a warning, in pixels.
_WCS_TOLERANCE = 1e-3

_log = logging.getLogger(__name__)


def restored_cards(image: ExportedImage, bitpix: int, tables: LookupTables) -> list[str]:
    """Make the cards of a restored HDU, without END and checksums.

    Cards of the input that need no change are copied as they are stored.

    Parameters
    ----------
    image
        The level to export. It stays the primary image or becomes an extension, as it was in the input.
    bitpix
        Pixel type of the file: -32 or -64.
    tables
        What becomes of its lookup tables.

    Returns
    -------
    cards
        80 characters each, or a multiple with CONTINUE cards.
    """
    text = image.attributes.get("fits", {}).get("header", "")
    with collected_warnings(image.origin):
        header = parsed(text)
        changes = header_changes(header, image.factor, tables)
        kept = list(_kept(stored_cards(text), header, changes))
        cards = [*_structure(image, header, bitpix), *map(as_allowed, kept)]
        notes = [
            *changes.history,
            *left_out_cards(header),
            *replaced_characters(kept),
            *_notes(image, header, cards),
        ]
    return [*cards, *history_cards(notes), *(card(*each) for each in _provenance(image))]


def primary_cards(text: str, image: ExportedImage, notes: Iterable[str]) -> list[str]:
    """Make the cards of a primary HDU that was not restored: those of the input, and what was done.

    Parameters
    ----------
    text
        Its stored header; empty for a new one without data.
    image
        An image of the file that was restored.
    notes
        Sentences for HISTORY.
    """
    with collected_warnings(image.origin):
        header = parsed(text)
    kept = [
        block
        for keyword, block in stored_cards(text)
        if not _BYTE_PLACES.fullmatch(keyword) and not re.match("CHECKSUM|DATASUM|GP[A-Z]", keyword)
    ]
    start = kept or [card("SIMPLE", True), card("BITPIX", 8), card("NAXIS", 0)]
    notes = [*notes, *left_out_cards(header, only=_BYTE_PLACES), *replaced_characters(kept)]
    named = [card(*each) for each in _provenance(image) if each[0] in _OF_THE_FILE]
    return [*map(as_allowed, start), *history_cards(notes), *named]


def left_out_cards(header: fits.Header, only: re.Pattern[str] | None = None) -> Iterator[str]:
    """Yield a sentence for HISTORY about each kind of cards that is left out, with the reason."""
    for kind, why in _LEFT_OUT:
        found = sorted({key for key in header if kind.fullmatch(key)})
        if found and only in (None, kind):
            yield f"{', '.join(found)} left out: {why}"


def _kept(
    blocks: Iterable[tuple[str, str]], header: fits.Header, changes: HeaderChanges
) -> Iterator[str]:
    for keyword, block in blocks:
        if _REPLACED.fullmatch(keyword) or keyword in changes.dropped:
            continue
        if any(kind.fullmatch(keyword) for kind, _ in _LEFT_OUT):
            continue
        name = record_name(keyword, block)
        if name not in changes.values:
            yield block
        elif name == keyword:
            yield card(keyword, changes.values[keyword], header.comments[keyword])
        else:
            record = f"{name.partition('.')[2]}: {changes.values[name]:g}"
            yield card(keyword, record, header.comments[name])
    for keyword, value in changes.added.items():
        yield card(keyword, value, "was at its default on the input's grid")


def _structure(image: ExportedImage, header: fits.Header, bitpix: int) -> Iterator[str]:
    planes, height, width = image.shape
    old = [header.get(f"NAXIS{axis}", 0) for axis in range(1, header.get("NAXIS", 0) + 1)]
    # keep axes of length 1, such as polarisation or frequency
    same_planes = len(old) >= 2 and math.prod(old[2:]) == planes
    leading = old[2:] if same_planes else [planes] if image.ndim == 3 else []
    axes = [width, height, *leading]

    def comment(keyword: str, otherwise: str) -> str:
        return str(header.comments[keyword]) if keyword in header else otherwise

    if image.hdu == 0:
        yield card("SIMPLE", True, comment("SIMPLE", "conforms to FITS standard"))
    else:
        yield card("XTENSION", "IMAGE", comment("XTENSION", "image extension"))
    yield card("BITPIX", bitpix, "IEEE floating point")
    yield card("NAXIS", len(axes), comment("NAXIS", "number of array dimensions"))
    for axis, length in enumerate(axes, 1):
        yield card(f"NAXIS{axis}", length, comment(f"NAXIS{axis}", ""))
    for keyword, value, meaning in (
        ("PCOUNT", 0, "number of parameters"),
        ("GCOUNT", 1, "number of groups"),
    ):
        if image.hdu > 0 or keyword in header:
            yield card(keyword, value, comment(keyword, meaning))


def _notes(image: ExportedImage, header: fits.Header, cards: list[str]) -> Iterator[str]:
    run = image.run
    yield f"{image.software} restored this image from {image.origin}, recipe {run.get('recipe')}"
    if compression := image.attributes.get("fits", {}).get("compression"):
        yield f"the input's pixels are compressed by tiles ({compression}), these are plain floats"
    for exposure in run.get("source", {}).get("exposures", ()):
        yield f"with exposure {Path(exposure['path']).name}, sha256 {exposure['sha256']}"
    if image.level:
        yield f"level {image.level} of the pyramid: means of {2**image.level}x{2**image.level} pixels"
    if image.turned:
        yield "rows are counted from the bottom, as in FITS; those of the input are counted from the top"
    if image.removed is not None:
        yield f"strength {image.strength:g}: {1 - image.strength:g} of what was removed was mixed back"
    if run.get("status") == "partial":
        yield "the run was partial: some tiles hold no restoration"
    if (flux := run.get("flux_factor", 1.0)) != 1:
        yield f"values were multiplied by {flux:g}, so that sums over an area stay"
    if detector := [key for key in _DETECTOR if key in header]:
        yield f"{', '.join(detector)} describe the input, not this image"
    if image.factor == 1:
        return
    new = fits.Header.fromstring("".join(cards))
    error = wcs_disagreement(header, new, image.factor)
    if error is not None and error > _WCS_TOLERANCE:
        _log.warning("%s: WCS is off by up to %.3g pixels", image.origin, error)
        yield f"WCS could not be carried over exactly: off by up to {error:.3g} pixels"


def _provenance(image: ExportedImage) -> Iterator[tuple[str, Any, str]]:
    run, source = image.run, image.run.get("source", {})
    yield "GPVERS", run.get("version", ""), "version of glassplate"
    yield "GPRUNID", run.get("run_id", ""), "run that restored the image"
    yield "GPRECIPE", run.get("recipe", ""), "recipe of the restoration"
    yield "GPSCALE", run.get("scale", 1), "pixels per pixel of the input, along an axis"
    yield "GPLEVEL", image.level, "level of the pyramid"
    if image.removed is not None:
        yield "GPSTREN", image.strength, "share of what was removed that stays removed"
    yield "GPSOURCE", image.origin, "file that was restored"
    if source.get("sha256"):
        yield "GPSHA256", source["sha256"], ""
