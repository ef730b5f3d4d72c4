"""The header of an exported FITS file: the input's cards, changes to them, and the origin of the image."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from astropy.io import fits

from glassplate.pipeline.export.fits_wcs import HeaderChanges, header_changes
from glassplate.pipeline.export.fits_wcs_check import wcs_disagreement
from glassplate.pipeline.export.level import ExportedImage
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.fits.text import parsed, printable

# Cards about how the input stores its numbers, about its extrema, and of an earlier export. They do not
# describe the exported file.
_ENCODING = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|GROUPS|BSCALE|BZERO|BLANK|CHECKSUM|DATASUM"
    r"|DATAMIN|DATAMAX|ZIMAGE|ZTENSION|ZBITPIX|ZNAXIS\d*|ZPCOUNT|ZGCOUNT|ZTILE\d+|ZCMPTYPE|ZNAME\d+"
    r"|ZVAL\d+|ZMASKCMP|ZQUANTIZ|ZDITHER0|ZSIMPLE|ZEXTEND|ZBLOCKED|ZHECKSUM|ZDATASUM|ZBLANK|ZSCALE"
    r"|ZZERO|GPVERS|GPRUNID|GPRECIPE|GPSCALE|GPLEVEL|GPSTREN|GPSOURCE|GPSHA256"
)
# Cards that are meaningful only in an extension. The exported image is the primary one.
_EXTENSION = frozenset({"EXTNAME", "EXTVER", "EXTLEVEL", "INHERIT"})
# Cards that describe noise and range of the input. They stay, and HISTORY says so.
_DETECTOR = ("GAIN", "RDNOISE", "READNOIS", "SATURATE")

# Largest disagreement of the sky positions without a warning, in pixels.
_WCS_TOLERANCE = 1e-3

_log = logging.getLogger(__name__)


def header_cards(image: ExportedImage, bitpix: int) -> list[str]:
    """Make the cards of the exported header, without END and checksums.

    Cards of the input that need no change are copied as they are stored.

    Parameters
    ----------
    image
        The level to export.
    bitpix
        Pixel type of the file: -32 or -64.

    Returns
    -------
    cards
        80 characters each, or a multiple with CONTINUE cards.
    """
    text = image.attributes.get("fits", {}).get("header", "")
    with collected_warnings(image.origin):
        header = parsed(text)
        changes = header_changes(header, image.factor)
        takes_unit = _takes_unit(image, header)
        kept = [
            *_kept(_blocks(text), header, changes, takes_unit=takes_unit),
            *_inherited(image, header, takes_unit=takes_unit),
        ]
        cards = [*_structure(image, header, bitpix), *map(_as_allowed, kept)]
        notes = [*changes.history, *_replaced(kept), *_notes(image, header, cards)]
    cards += [card("HISTORY", line) for line in history_lines(notes)]
    return cards + [card(*triple) for triple in _provenance(image)]


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield keyword and stored text of each card together with its CONTINUE cards."""
    keyword, block = "", ""
    for line in text.split("\n") if text else ():
        padded = f"{line:<80}"[:80]
        if padded.startswith("CONTINUE") and block:
            block += padded
            continue
        if block:
            yield keyword, block
        keyword, block = padded[:8].rstrip().upper(), padded
    if block:
        yield keyword, block


def _kept(
    blocks: Iterable[tuple[str, str]],
    header: fits.Header,
    changes: HeaderChanges,
    *,
    takes_unit: bool,
) -> Iterator[str]:
    is_extension = "XTENSION" in header
    for keyword, block in blocks:
        if _ENCODING.fullmatch(keyword) or keyword in changes.dropped:
            continue
        if is_extension and keyword in _EXTENSION:
            continue
        if takes_unit and keyword == "BUNIT":
            continue  # it is blank; the unit of the primary header replaces it
        if keyword in changes.values:
            yield card(keyword, changes.values[keyword], header.comments[keyword])
        else:
            yield block
    for keyword, value in changes.added.items():
        yield card(keyword, value, "was at its default on the input's grid")


def _takes_unit(image: ExportedImage, header: fits.Header) -> bool:
    """Whether the unit of the pixels comes from the primary header of the input."""
    own = str(header.get("BUNIT", "")).strip()
    return "XTENSION" in header and not own and bool(image.run.get("unit"))


def _inherited(image: ExportedImage, header: fits.Header, *, takes_unit: bool) -> Iterator[str]:
    """Yield cards of the input's primary header: its unit, or all if the extension inherits them."""
    inherits = header.get("INHERIT") is True
    for keyword, block in _blocks(image.attributes.get("fits", {}).get("primary", "")):
        blank = keyword in ("", "COMMENT", "HISTORY", "HIERARCH", "EXTEND")
        structural = _ENCODING.fullmatch(keyword) or keyword in _EXTENSION
        if keyword == "BUNIT" and takes_unit:
            yield block
            takes_unit = False
        elif inherits and not blank and not structural and keyword not in header:
            yield block


def _as_allowed(block: str) -> str:
    """Replace the characters of a card and its CONTINUE cards that the standard does not allow."""
    if block.isascii() and block.isprintable():
        return block
    plain = printable(block)
    # a keyword must not contain a question mark
    return f"COMMENT {plain[:72]}" if "?" in plain[:8] else plain


def _replaced(blocks: Iterable[str]) -> Iterator[str]:
    """Yield the sentence for HISTORY about replaced characters, if there are any."""
    count = sum(
        was != now for block in blocks for was, now in zip(block, printable(block), strict=True)
    )
    if count:
        yield f"characters that FITS does not allow in a header were replaced by ?: {count} of the input's"


def _structure(image: ExportedImage, header: fits.Header, bitpix: int) -> Iterator[str]:
    planes, height, width = image.shape
    old = [header.get(f"NAXIS{axis}", 0) for axis in range(1, header.get("NAXIS", 0) + 1)]
    # keep axes of length 1, such as polarisation or frequency
    same_planes = len(old) >= 2 and math.prod(old[2:]) == planes
    leading = old[2:] if same_planes else [planes] if image.ndim == 3 else []
    axes = [width, height, *leading]

    def comment(keyword: str, otherwise: str) -> str:
        return str(header.comments[keyword]) if keyword in header else otherwise

    yield card("SIMPLE", True, comment("SIMPLE", "conforms to FITS standard"))
    yield card("BITPIX", bitpix, "IEEE floating point")
    yield card("NAXIS", len(axes), comment("NAXIS", "number of array dimensions"))
    for axis, length in enumerate(axes, 1):
        yield card(f"NAXIS{axis}", length, comment(f"NAXIS{axis}", ""))


def _notes(image: ExportedImage, header: fits.Header, cards: list[str]) -> Iterator[str]:
    run = image.run
    yield f"{image.software} restored this image from {image.origin}, recipe {run.get('recipe')}"
    found = image.attributes.get("fits", {})
    if found.get("hdu", 0) > 0:
        yield f"it was HDU {found['hdu']} {found.get('name', '')} of the input"
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


def history_lines(sentences: Iterable[str]) -> list[str]:
    """Break sentences into HISTORY lines of at most 72 ASCII characters."""
    lines = []
    for sentence in sentences:
        line = ""
        for word in printable(sentence).split():
            for piece in (word[at : at + 72] for at in range(0, len(word), 72)):
                if line and len(line) + 1 + len(piece) > 72:
                    lines.append(line)
                    line = piece
                else:
                    line = f"{line} {piece}" if line else piece
        lines.append(line)
    return lines


def card(keyword: str, value: Any, comment: str = "") -> str:
    """Format a card, padded to a multiple of 80 characters."""
    if isinstance(value, str):
        value = printable(value)
    text = str(fits.Card(keyword, value, comment))
    return text if len(text) % 80 == 0 else text.ljust(-(-len(text) // 80) * 80)
