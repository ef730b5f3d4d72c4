"""Header text of FITS files as it is found in the wild, and as astropy and the standard can bear it."""

from __future__ import annotations

import re

from astropy.io import fits

# What a header may hold: FITS standard 4.0, section 3.2.
_FORBIDDEN = re.compile(r"[^ -~]")
# Line breaks would end the card in a text of one card a line; these stand for them, visibly.
_LINE_BREAKS = str.maketrans(
    {"\n": "\N{SYMBOL FOR LINE FEED}", "\r": "\N{SYMBOL FOR CARRIAGE RETURN}"}
)


def stored_text(raw: bytes) -> str:
    """Bytes of a header as text, one character a byte: latin-1, which keeps what FITS forbids."""
    return raw.decode("latin-1").translate(_LINE_BREAKS)


def printable(text: str) -> str:
    """The text with a question mark for each character that FITS forbids.

    Printable ASCII is allowed, and in a text of several cards the line breaks between them are kept.
    """
    return "\n".join(_FORBIDDEN.sub("?", line) for line in text.split("\n"))


def parsed(text: str) -> fits.Header:
    """The header of stored text, one card a line, without the cards that cannot be read.

    Every value and comment of it can be asked for: a card that astropy cannot parse is left out, and
    stays readable in the text.
    """
    header = fits.Header.fromstring(printable(text), sep="\n")
    cards = list(header.cards)
    sound = [card for card in cards if is_sound(card)]
    return header if len(sound) == len(cards) else fits.Header(sound)


def is_sound(card: fits.Card) -> bool:
    """Whether astropy can read a card."""
    try:
        _ = card.keyword, card.value, card.comment
    # VerifyError for most malformed cards, ValueError and others for values that look like numbers
    except Exception:
        return False
    return True
