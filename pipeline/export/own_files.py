"""Recognises files that glassplate has written, by their content."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import tifffile
from PIL import Image

from glassplate.pipeline.export.jpeg2000 import is_own_jpeg2000
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.fits.scan import BLOCK, CARD, MOST_BLOCKS

# Bytes of a JPEG 2000 file among which the mark of an export is.
_START_BYTES = 4 << 20
_PNG = b"\x89PNG\r\n\x1a\n"


def is_export(path: Path) -> bool:
    """Whether a file is an export of glassplate.

    It has GPRUNID in FITS, names it as Software in TIFF and PNG, or has an element of its own in JPEG 2000.
    Only regular files are opened, because opening a named pipe would block.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(8)
        file.seek(0)
        if start.startswith(b"SIMPLE"):
            return _names_its_run(file)
        if start.endswith(b"jP  "):
            return is_own_jpeg2000(file.read(_START_BYTES))
        if start == _PNG:
            return is_own_png(path)
    try:
        with collected_warnings(path), tifffile.TiffFile(path) as tiff:
            return str(tiff.pages[0].tags.valueof(305) or "").startswith("glassplate")
    # glassplate writes no file that cannot be read
    except Exception:
        return False


def is_own_png(path: Path) -> bool:
    """Whether a file is a picture that glassplate drew."""
    try:
        with Image.open(path) as image:
            return str(image.info.get("Software", "")).startswith("glassplate")
    except OSError:
        return False


def _names_its_run(file: IO[bytes]) -> bool:
    """Whether the first header of a FITS file has the card GPRUNID."""
    for _ in range(MOST_BLOCKS):
        block = file.read(BLOCK)
        cards = [block[at : at + CARD] for at in range(0, len(block), CARD)]
        if any(card.startswith(b"GPRUNID =") for card in cards):
            return True
        if not cards or any(card.rstrip() == b"END" for card in cards):
            return False
    return False
