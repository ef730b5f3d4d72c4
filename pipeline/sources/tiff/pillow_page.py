"""Pages of two old kinds that tifffile cannot decode, and libtiff within Pillow can.

They are JPEG of the older kind (compression 6), and brightness with fewer samples of colour that is not JPEG.
Other pages are never given to it, because libtiff fills what is missing of a damaged page.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.text import one_line

_OLD_JPEG = 6
_YCBCR = 6
_JPEGS = (6, 7)


def is_for_pillow(page: Any) -> bool:
    """Whether a page is of one of these kinds and is not decoded without Pillow."""
    if int(page.photometric) != _YCBCR or page.dtype is None or page.dtype.itemsize != 1:
        return False
    if int(page.compression) == _OLD_JPEG:
        return not _has_whole_stream(page)
    return int(page.compression) not in _JPEGS and bool(page.is_subsampled)


def _has_whole_stream(page: Any) -> bool:
    """Whether the only strip of an older JPEG is a JPEG file by itself, which tifffile decodes."""
    file = page.parent.filehandle
    file.seek(int(page.dataoffsets[0]))
    return len(page.dataoffsets) == 1 and file.read(2) == b"\xff\xd8"


def decode(page: Any) -> npt.NDArray[np.uint8]:
    """All pixels of a page as RGB, ``(3, h, w)``.

    Raises
    ------
    SourceError
        If it cannot be decoded either.
    """
    named = page.parent.filehandle.path
    _, _, height, width, _ = page.shaped
    try:
        with Image.open(named, formats=["TIFF"]) as image:
            image.seek(page.index)
            if image.size != (width, height):
                raise ValueError(f"{image.size} are not the {(width, height)} pixels of the page")
            pixels = np.asarray(image.convert("RGB"))
    # Pillow raises OSError, ValueError, SyntaxError, DecompressionBombError, ...
    except Exception as error:
        raise SourceError(f"cannot be decoded by libtiff: {one_line(error)[:200]}") from error
    return np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
