"""Cards of FITS headers as text: stored ones one by one, new ones, and sentences for HISTORY."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from astropy.io import fits

from glassplate.pipeline.sources.fits.text import printable

# A record-valued card, such as DP1 = 'EXTVER: 2' of a lookup table.
_RECORD = re.compile(r".{8}= *'([A-Za-z][\w.]*): [^']*'")


def card(keyword: str, value: Any, comment: str = "") -> str:
    """Format a card, padded to a multiple of 80 characters."""
    if isinstance(value, str):
        value = printable(value).replace("\n", "?")
    text = str(fits.Card(keyword, value, comment))
    return text if len(text) % 80 == 0 else text.ljust(-(-len(text) // 80) * 80)


def stored_cards(text: str) -> Iterator[tuple[str, str]]:
    """Yield keyword and text of each stored card together with its CONTINUE cards.

    Parameters
    ----------
    text
        A header, one card a line, without END.
    """
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


def record_name(keyword: str, block: str) -> str:
    """Name by which astropy knows a stored card: ``DP1.EXTVER`` for ``DP1 = 'EXTVER: 2'``."""
    found = _RECORD.match(block)
    return f"{keyword}.{found[1]}" if found else keyword


def as_allowed(block: str) -> str:
    """Replace the characters of a card and its CONTINUE cards that the standard does not allow."""
    if block.isascii() and block.isprintable():
        return block
    plain = printable(block)
    # a keyword must not contain a question mark
    return f"COMMENT {plain[:72]}" if "?" in plain[:8] else plain


def replaced_characters(blocks: Iterable[str]) -> Iterator[str]:
    """Yield the sentence for HISTORY about replaced characters, if there are any."""
    count = sum(
        was != now for block in blocks for was, now in zip(block, printable(block), strict=True)
    )
    if count:
        yield f"characters that FITS does not allow in a header were replaced by ?: {count} of the input's"


def history_cards(sentences: Iterable[str]) -> list[str]:
    """Make HISTORY cards of sentences of any length."""
    return [card("HISTORY", line) for line in history_lines(sentences)]


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
