"""Numbers, names and errors as text for people."""

from __future__ import annotations

from glassplate.pipeline.errors import GlassplateError, is_disk_full
from glassplate.pipeline.text import (
    amount,
    duration,
    number,
    one_line,
    one_line_with_type,
    per_second,
    plural,
)

__all__ = ["amount", "duration", "number", "per_second", "plural", "reason"]


def reason(error: BaseException) -> str:
    """Return why something failed, on one line; errors of other packages are given with their type."""
    if is_disk_full(error):
        return "the disk is full; free some space and run the same command again to resume"
    if isinstance(error, GlassplateError):
        return one_line(error)
    return one_line_with_type(error)
