"""Which format a file is, by its content, never by its name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from glassplate.pipeline.sources.readers import find_reader
from glassplate.pipeline.sources.source import Format

NAMES: Mapping[Format, str] = {
    "fits": "FITS",
    "tiff": "TIFF",
    "png": "PNG",
    "jpeg": "JPEG",
    "jpeg2000": "JPEG 2000",
    "webp": "WebP",
    "jpegxl": "JPEG XL",
}
"""The formats that are read without a further package, as they are written in messages."""


def sniff_format(path: Path) -> str:
    """Name of the format of a file: "fits", "tiff", "jpeg2000", or that of another reader.

    Raises
    ------
    SourceError
        If there is no such file, or it is empty, or its format is not read.
    """
    return find_reader(path).name


def holds_measurements(path: Path) -> bool:
    """Whether a file holds measurements in a physical unit, as FITS does, and no picture.

    Raises
    ------
    SourceError
        As `sniff_format`.
    """
    return find_reader(path).like == "fits"
