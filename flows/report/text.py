"""Numbers, names and errors as text for people."""

from __future__ import annotations

from glassplate.pipeline.errors import GlassplateError, is_disk_full
from glassplate.pipeline.text import one_line, one_line_with_type


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


def reason(error: BaseException) -> str:
    """Return why something failed, on one line; errors of other packages are given with their type."""
    if is_disk_full(error):
        return "the disk is full; free some space and run the same command again to resume"
    if isinstance(error, GlassplateError):
        return one_line(error)
    return one_line_with_type(error)
