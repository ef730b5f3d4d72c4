"""Error messages on one line, without characters that a terminal cannot show."""

from __future__ import annotations

# Some libraries put whole requests into a message. The text after the first few lines helps nobody.
MOST_CHARACTERS = 600


def printable(text: str) -> str:
    """Return the text with each character that a terminal or Prefect cannot show as an escape.

    File names may contain newlines and bytes that are not UTF-8.
    """
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def one_line(error: BaseException) -> str:
    """Return the message of an error on one line; its type if it has no message."""
    text = printable(" ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}..."


def one_line_with_type(error: BaseException) -> str:
    """Return type and message of an error on one line: ``ValueError: expected two axes``."""
    kind, text = type(error).__name__, one_line(error)
    return kind if text == kind else f"{kind}: {text}"
