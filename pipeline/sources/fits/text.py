"""The text of FITS headers: as it is stored, and in the form that the standard and astropy accept."""

from __future__ import annotations

import re

from astropy.io import fits

# Characters that a header must not contain: FITS standard 4.0, section 3.2.
_FORBIDDEN = re.compile(r"[^ -~]")
# Visible characters in place of line breaks, which would end a card in a text of one card a line.
_LINE_BREAKS = str.maketrans(
    {"\n": "\N{SYMBOL FOR LINE FEED}", "\r": "\N{SYMBOL FOR CARRIAGE RETURN}"}
)


def stored_text(raw: bytes) -> str:
    """The bytes of a header as text in latin-1, one character for each byte, forbidden ones included."""
    return raw.decode("latin-1").translate(_LINE_BREAKS)


def printable(text: str) -> str:
    """The text with a question mark in place of each character that FITS forbids.

    Printable ASCII is allowed. Line breaks, which separate cards, are kept.
    """
    return "\n".join(_FORBIDDEN.sub("?", line) for line in text.split("\n"))


def parsed(text: str) -> fits.Header:
    """The header of stored text, one card a line, without the cards that astropy cannot parse.

    Every value and comment of the header can be read.
    """
    header = fits.Header.fromstring(printable(text), sep="\n")
    cards = list(header.cards)
    sound = [card for card in cards if is_sound(card)]
    return header if len(sound) == len(cards) else fits.Header(sound)


def is_sound(card: fits.Card) -> bool:
    """Whether astropy can parse a card."""
    try:
        _ = card.keyword, card.value, card.comment
    # VerifyError for most malformed cards, ValueError and others for values that look like numbers
    except Exception:
        return False
    return True
