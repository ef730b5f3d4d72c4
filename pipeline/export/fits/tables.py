"""Distortion by lookup tables, which lie in extensions of their own, on another pixel grid.

A table holds shifts in pixels at places in pixels, so both follow the grid. The input's tables stay as they
are, because other images of the file may use them; a scaled copy with an EXTVER of its own is added.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from glassplate.pipeline.export.fits.cards import card, record_name, stored_cards
from glassplate.pipeline.export.fits.input import FitsInput

_TABLES = re.compile(r"(?:CPDIS|CQDIS|D2IMDIS|CPERR|CQERR|D2IMERR|DP|DQ|D2IM)\d|AXISCORR")
# Kinds of tables: keyword of the axis, its records, its largest shift, and EXTNAME of the table.
_KINDS = (("CPDIS", "DP", "CPERR", "WCSDVARR"), ("D2IMDIS", "D2IM", "D2IMERR", "D2IMARR"))
# Cards about how the numbers of a table are stored, which are written anew, and its checksums.
_STORAGE = re.compile(r"BITPIX|BSCALE|BZERO|BLANK|CHECKSUM|DATASUM|DATAMIN|DATAMAX")


@dataclass(frozen=True)
class LookupTable:
    """A scaled copy of a table."""

    name: str
    """EXTNAME and EXTVER: ``WCSDVARR,5``."""
    cards: list[str]
    shifts: npt.NDArray[np.floating]
    """``(y, x)`` float32 or float64, in pixels of the new grid."""


@dataclass(frozen=True)
class LookupTables:
    """What becomes of the lookup tables of an image."""

    added: tuple[LookupTable, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)
    """New values of cards of the image, by the name that astropy gives them: ``DP1.EXTVER``."""
    dropped: frozenset[str] = frozenset()
    """Keywords of the image of which every card is left out."""
    history: tuple[str, ...] = ()


def table_keywords(header: fits.Header) -> frozenset[str]:
    """Stored keywords of lookup tables. astropy shows a record ``DP1 = 'EXTVER: 1'`` as DP1.EXTVER."""
    stored = {key.partition(".")[0] for key in header}
    return frozenset(key for key in stored if _TABLES.fullmatch(key))


def without_tables(header: fits.Header, why: str) -> LookupTables:
    """Leave out all that a header says about lookup tables."""
    found = table_keywords(header)
    if not found:
        return LookupTables()
    listed = ", ".join(sorted(found))
    return LookupTables(
        dropped=found, history=(f"distortion by lookup tables is left out: {why} ({listed})",)
    )


def scaled_tables(
    header: fits.Header, given: FitsInput, scale: float, taken: dict[str, int]
) -> LookupTables:
    """Carry the lookup tables of an image over to pixels that are `scale` times finer.

    Parameters
    ----------
    header
        Of the image, on the input's grid.
    given
        The input, which holds the tables.
    scale
        1 leaves everything as it is, as long as the tables are at hand.
    taken
        Largest EXTVER so far of tables of each EXTNAME; changed by this function.
    """
    if not table_keywords(header):
        return LookupTables()
    if given.file is None and given.left_out:
        return without_tables(header, "the tables are in other extensions of the input")
    if scale == 1:
        return LookupTables()
    if given.file is None:
        return without_tables(header, "the input has no such tables")
    unknown = sorted(
        key for key in header if re.fullmatch(r"CQDIS\d|AXISCORR", key) or _is_unknown(header, key)
    )
    if unknown:
        return without_tables(header, f"this kind is not scaled: {', '.join(unknown)}")
    added: list[LookupTable] = []
    values: dict[str, Any] = {}
    for kind, record, error, name in _KINDS:
        for key in [key for key in header if re.fullmatch(rf"{kind}\d", key)]:
            axis = key[-1]
            version = int(header.get(f"{record}{axis}.EXTVER", 1))
            index = _table_index(given, name, version)
            if index is None:
                return without_tables(header, f"the input has no readable {name},{version}")
            taken[name] = max(taken.get(name, 0), *_versions(given, name)) + 1
            added.append(_scaled(given, index, scale, taken[name]))
            values[f"{record}{axis}.EXTVER"] = float(taken[name])
            largest = header.get(f"{error}{axis}")
            if isinstance(largest, int | float) and not isinstance(largest, bool):
                values[f"{error}{axis}"] = largest * scale
    names = ", ".join(table.name for table in added)
    note = f"distortion by lookup tables follows the pixels: its tables are {names}"
    return LookupTables(tuple(added), values, history=(note,))


def _is_unknown(header: fits.Header, key: str) -> bool:
    """Whether a card names a distortion that is no lookup table, such as a polynomial."""
    return bool(re.fullmatch(r"(?:CPDIS|D2IMDIS)\d", key)) and (
        str(header[key]).strip().upper() != "LOOKUP"
    )


def _versions(given: FitsInput, name: str) -> Iterator[int]:
    """EXTVER of each HDU of a name; 0 where there is none."""
    yield 0
    if given.file is not None:
        for _, hdu in given.file.each():
            if not isinstance(hdu, Exception) and str(hdu.name).upper() == name:
                yield int(hdu.ver)


def _table_index(given: FitsInput, name: str, version: int) -> int | None:
    """Index of the HDU of a table that can be read; None without one."""
    if given.file is None:
        return None
    for index, hdu in given.file.each():
        if isinstance(hdu, Exception) or index >= len(given.spans):
            continue
        if str(hdu.name).upper() == name and int(hdu.ver) == version:
            return index if isinstance(hdu, fits.ImageHDU) and len(hdu.shape) == 2 else None
    return None


def _scaled(given: FitsInput, index: int, scale: float, version: int) -> LookupTable:
    """Copy a table: ``CRVAL`` and ``CDELT`` are places in pixels, the numbers shifts in pixels."""
    if given.file is None:
        raise ValueError("a table needs its file")
    hdu = given.file[index]
    header = hdu.header
    bscale, bzero = float(header.get("BSCALE", 1)), float(header.get("BZERO", 0))
    double = abs(int(header["BITPIX"])) > 32
    shifts = (np.asarray(hdu.data, np.float64) * bscale + bzero) * scale
    values: dict[str, Any] = {"EXTVER": version}
    for axis in (1, 2):
        values[f"CRVAL{axis}"] = scale * (float(header.get(f"CRVAL{axis}", 0)) - 0.5) + 0.5
        values[f"CDELT{axis}"] = scale * float(header.get(f"CDELT{axis}", 1))
    cards: list[str] = []
    for keyword, block in stored_cards(given.header_text(index)):
        if keyword == "BITPIX":
            cards.append(card("BITPIX", -64 if double else -32, "IEEE floating point"))
        elif record_name(keyword, block) in values:
            cards.append(card(keyword, values.pop(keyword), header.comments[keyword]))
        elif not _STORAGE.fullmatch(keyword):
            cards.append(block)
    cards += [card(keyword, value) for keyword, value in values.items()]
    return LookupTable(
        f"{hdu.name},{version}", cards, shifts.astype(np.float64 if double else np.float32)
    )
