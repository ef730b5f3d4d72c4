"""Text for people: numbers, amounts and durations, and error messages on one line."""

from __future__ import annotations

import re

# Some libraries put whole requests into a message. The text after the first few lines helps nobody.
MOST_CHARACTERS = 600


def printable(text: str) -> str:
    """Return the text with each character that a terminal or Prefect cannot show as an escape.

    File names may contain newlines and bytes that are not UTF-8.
    """
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


# User and password of a URL; values of its query whose names say that they are secret; ids of AWS keys.
_SECRETS = (
    (re.compile(r"(?<=://)[^/\s@]+@"), "***@"),
    (
        re.compile(
            r"(?i)([?&][\w-]*(?:token|key|secret|signature|credential|password)[\w-]*=)[^&\s]+"
        ),
        r"\1***",
    ),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), "***"),
)


def without_secrets(text: str) -> str:
    """Return the text with ``***`` in place of passwords and keys in URLs, for logs and records."""
    for pattern, shown in _SECRETS:
        text = pattern.sub(shown, text)
    return text


def one_line(error: BaseException) -> str:
    """Return the message of an error on one line, without secrets; its type if it has no message."""
    text = without_secrets(printable(" ".join(str(error).split()))) or type(error).__name__
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}..."


def one_line_with_type(error: BaseException) -> str:
    """Return type and message of an error on one line: ``ValueError: expected two axes``."""
    kind, text = type(error).__name__, one_line(error)
    return kind if text == kind else f"{kind}: {text}"


def duration(seconds: float) -> str:
    """Format seconds as ``4.2 s``, ``3 min 5 s`` or ``2 h 40 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def amount(count_bytes: float) -> str:
    """Format bytes as ``512 B`` or ``3.4 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count_bytes < 1024 or unit == "TiB":
            return f"{count_bytes:.0f} B" if unit == "B" else f"{count_bytes:.1f} {unit}"
        count_bytes /= 1024
    raise ValueError(f"{count_bytes} is not an amount of bytes")


def per_second(rate: float, unit: str) -> str:
    """Format a rate to three digits with a decimal prefix: ``14.2 GB/s`` or ``71 GFLOP/s``."""
    for prefix in ("", "k", "M", "G", "T", "P"):
        if rate < 999.5 or prefix == "P":
            return f"{rate:.3g} {prefix}{unit}/s"
        rate /= 1000
    raise ValueError(f"{rate} is not a rate")


def number(value: float | None, unit: str | None = None) -> str:
    """Format a measured value to four digits with its unit; None and NaN are ``unknown``."""
    if value is None or value != value:
        return "unknown"
    return f"{value:.4g} {unit}" if unit else f"{value:.4g}"


def plural(count: int, noun: str) -> str:
    """Format a count with its noun: ``1 tile`` or ``5 tiles``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
