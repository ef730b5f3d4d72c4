"""Where the HDUs of a FITS file begin and end, with every number of their headers checked.

astropy trusts a header: it reads one without END to the end of the file, block by block, and for
``NAXIS = 1000000000`` or ``TFIELDS = 2147483647`` it looks up each axis or column in turn. So each header is
checked here before astropy reads it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.sources.segments import SEGMENT_LIMIT_BYTES
from glassplate.pipeline.text import printable

BLOCK = 2880
CARD = 80
# Longest header that is read, in blocks: 36 000 cards or 2.9 MB, which astropy parses in 3 s. The longest one
# in 115 real files has 360.
MOST_BLOCKS = 1000

_BITPIX = (8, 16, 32, 64, -32, -64)
_MOST_AXES = 999
_MOST_LENGTH = 2**62
"""A file cannot be read at positions beyond."""
_SIZES = re.compile(
    rb"(XTENSION|GROUPS|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|TFIELDS|BSCALE|BZERO|ZIMAGE|ZBITPIX|ZNAXIS\d*"
    rb"|ZTILE\d+)"
    rb" *= *('[^']*'|[^/]*)"
)
# A number as astropy reads it; it says "Empty or corrupt FITS file" of another one in BSCALE or BZERO.
_NUMBER = re.compile(r"[+-]? *([0-9]+\.?[0-9]*|\.[0-9]+) *([EDed] *[+-]? *[0-9]+)?")
_END = re.compile(rb"END(?![A-Z0-9_-])")
_KEYWORD = re.compile(rb"[A-Z0-9_-]+ *=")

Cards = Mapping[str, str]
"""The values that give the size of an HDU, as text by keyword; the first card of a keyword counts."""


@dataclass(frozen=True)
class Span:
    """Position of an HDU in its file, in bytes."""

    start: int
    end_card: int
    """First byte of the card END."""
    data: int
    """First byte after the header."""
    end: int
    """First byte after the data, padding not included; it may lie beyond the end of the file."""


def spans(path: Path) -> Generator[Span, None, None]:
    """The HDUs of a file in their order.

    Bytes after the last HDU that are not a header are ignored.

    Raises
    ------
    SourceError
        At an HDU whose header has no END, or does not give a possible size.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = 0
        while start < size:
            file.seek(start)
            cards = _header(file, is_first=start == 0)
            if cards is None:
                return
            end_card = start + len(cards)
            data = end_card + BLOCK - len(cards) % BLOCK
            span = Span(start, end_card, data, data + _data_bytes(_structure(cards)))
            yield span
            start = data + -(-(span.end - data) // BLOCK) * BLOCK


def _header(file: IO[bytes], *, is_first: bool) -> bytes | None:
    """The cards of the header that begins here, without END; None where no header begins."""
    read = b""
    while block := file.read(BLOCK):
        if not read and not is_first and not _KEYWORD.match(block[:9]):
            return None
        for at in range(0, len(block), CARD):
            if _END.match(block, at):
                return read + block[:at]
        read += block
        if len(read) >= MOST_BLOCKS * BLOCK:
            raise SourceError(f"no END in the first {len(read) // CARD} cards of its header")
    raise SourceError("its header has no END, the file is cut or damaged")


def _structure(raw: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for at in range(0, len(raw), CARD):
        if match := _SIZES.match(raw[at : at + CARD]):
            name, value = (text.decode("latin-1") for text in match.groups())
            found.setdefault(name, value.strip(" "))
    return found


def _data_bytes(cards: Cards) -> int:
    """Size of the data in bytes; FITS standard 4.0, sections 4.4.1.1, 6.1.1 and 7.3.1."""
    bitpix = _bitpix(cards, "BITPIX")
    axes = _axes(cards, "NAXIS")
    is_groups = cards.get("GROUPS") == "T" and axes[:1] == [0]
    pcount = _whole(cards, "PCOUNT", 0, _MOST_LENGTH, otherwise=0)
    gcount = _whole(cards, "GCOUNT", 1, _MOST_LENGTH if is_groups else 1, otherwise=1)
    _whole(cards, "TFIELDS", 0, _MOST_AXES, otherwise=0)
    _check_scaling(cards)
    if cards.get("ZIMAGE") == "T":
        _check_tiles(cards)
    if not axes:
        return 0
    length = abs(bitpix) // 8 * gcount * (pcount + math.prod(axes[1:] if is_groups else axes))
    if length > _MOST_LENGTH:
        raise SourceError(f"its axes {axes} make {length} bytes, more than any file holds")
    return length


def _check_scaling(cards: Cards) -> None:
    """Refuse a scale or an offset that is not a number."""
    for keyword in ("BSCALE", "BZERO"):
        text = cards.get(keyword, "")
        if text and text[0] != "'" and not _NUMBER.fullmatch(text):
            raise SourceError(f"{keyword} is {printable(text)}, must be a number")


def _check_tiles(cards: Cards) -> None:
    """Refuse a compressed image whose tiles do not match its table, or are too large when decoded."""
    bitpix = _bitpix(cards, "ZBITPIX")
    axes = _axes(cards, "ZNAXIS")
    # by default, a tile is a row
    tiles = [
        _whole(cards, f"ZTILE{n}", 1, _MOST_LENGTH, otherwise=max(1, axis) if n == 1 else 1)
        for n, axis in enumerate(axes, 1)
    ]
    count = math.prod(-(-axis // tile) for axis, tile in zip(axes, tiles, strict=True))
    rows = _whole(cards, "NAXIS2", 0, _MOST_LENGTH)
    if count != rows:
        raise SourceError(f"ZNAXISn and ZTILEn make {count} tiles, its table has {rows} rows")
    pixels = math.prod(min(axis, tile) for axis, tile in zip(axes, tiles, strict=True))
    decoded = pixels * abs(bitpix) // 8
    if decoded > SEGMENT_LIMIT_BYTES:
        raise SourceError(
            f"a compressed tile decodes to {decoded} bytes, at most {SEGMENT_LIMIT_BYTES} are read"
        )


def _bitpix(cards: Cards, keyword: str) -> int:
    value = _whole(cards, keyword, min(_BITPIX), max(_BITPIX))
    if value not in _BITPIX:
        raise SourceError(f"{keyword} is {value}, must be one of {', '.join(map(str, _BITPIX))}")
    return value


def _axes(cards: Cards, keyword: str) -> list[int]:
    count = _whole(cards, keyword, 0, _MOST_AXES)
    return [_whole(cards, f"{keyword}{n}", 0, _MOST_LENGTH) for n in range(1, count + 1)]


def _whole(cards: Cards, keyword: str, low: int, high: int, *, otherwise: int | None = None) -> int:
    """A whole number of the header from `low` to `high`, both included."""
    text = cards.get(keyword)
    if text is None and otherwise is not None:
        return otherwise
    if text is None:
        raise SourceError(f"its header has no {keyword}")
    # int() accepts underscores, and raises beyond 4300 digits
    if not re.fullmatch(r"[+-]?[0-9]{1,70}", text) or not low <= int(text) <= high:
        most = "" if high == _MOST_LENGTH else f" to {high}"
        limits = str(low) if low == high else f"a whole number from {low}{most}"
        raise SourceError(f"{keyword} is {printable(text) or 'empty'}, must be {limits}")
    return int(text)
