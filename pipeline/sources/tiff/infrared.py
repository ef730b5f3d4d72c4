"""The infrared plane of a scan of film, in which dust and scratches are dark and the picture is not seen.

Scanner programs store it in two ways: as a last sample of the page beside its colours (VueScan), or as a grey
page of its own that is marked as a mask and has the size of the page (SilverFast HDRi).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import tifffile

from glassplate.pipeline.sources.tiff.as_seen import LINEAR_RAW, RGB

_SOFTWARE, _COLOR_MATRIX = 305, 50721
# Rows of DNG's matrix from XYZ to the colours of the sensor have three numbers, one row for each colour.
_MATRIX_ROW = 3
_MINISWHITE, _MINISBLACK = 0, 1
# Programs whose fourth sample of RGB is infrared. Elsewhere it may be anything.
_SCANNER_PROGRAMS = re.compile(r"VueScan|SilverFast|ScanStudio|NegPy", re.IGNORECASE)


def has_infrared_sample(page: Any) -> bool:
    """Whether the last sample of a page is infrared.

    In DNG it is one more than the colours, which the colour matrix counts where there is one: some cameras
    have four colours. In other TIFF only the program that wrote it tells.
    """
    samples = int(page.shaped[0] * page.shaped[4])
    if int(page.photometric) == LINEAR_RAW:
        matrix = page.tags.valueof(_COLOR_MATRIX)
        if matrix is None:
            matrix = page.parent.pages.first.tags.valueof(_COLOR_MATRIX)
        colours = _colours(matrix) or (1 if samples == 2 else 3)
        return samples == colours + 1
    if int(page.photometric) != RGB or samples != 4 or [int(k) for k in page.extrasamples] != [0]:
        return False
    return bool(_SCANNER_PROGRAMS.search(str(page.tags.valueof(_SOFTWARE) or "")))


def _colours(matrix: Any) -> int:
    """Number of colours of a colour matrix, whose numbers are ratios of two; 0 without one."""
    return len(matrix) // (2 * _MATRIX_ROW) if isinstance(matrix, tuple) else 0


def is_infrared_page(page: Any) -> bool:
    """Whether a page is grey and marked as a mask: it is the infrared plane of another page."""
    if isinstance(page, Exception) or not page.is_mask or page.dtype is None:
        return False
    grey = int(page.photometric) in (_MINISWHITE, _MINISBLACK)
    return grey and page.dtype.kind == "u" and page.shaped[0] * page.shaped[4] == 1


def infrared_page(path: Path, number: int) -> int | None:
    """Number of the page that holds the infrared plane of a page, which may be itself; None without one.

    Parameters
    ----------
    path
        A plain TIFF file that has been opened before.
    number
        Of the page.
    """
    from glassplate.pipeline.sources.tiff.directories import page_at, places

    with tifffile.TiffFile(path) as tiff:
        pages = [page_at(tiff, index, place) for index, place in enumerate(places(tiff))]
        image = pages[number]
        if has_infrared_sample(image):
            return number
        fitting = [
            other
            for other, page in enumerate(pages)
            if is_infrared_page(page) and page.shaped[2:4] == image.shaped[2:4]
        ]
    return fitting[0] if len(fitting) == 1 else None
