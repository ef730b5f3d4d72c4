"""Why a page of a TIFF file cannot be restored."""

from __future__ import annotations

import math
import os
from typing import Any

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.sources.segments import SEGMENT_LIMIT_BYTES
from glassplate.pipeline.sources.source import ImageInfo
from glassplate.pipeline.sources.tiff import pillow_page
from glassplate.pipeline.sources.tiff.as_seen import LINEAR_RAW
from glassplate.pipeline.sources.tiff.layout import (
    decode_segment,
    row_layout,
    segment_bytes,
    segment_shape,
)

# Photometric interpretations whose numbers do not measure light or ink.
TRANSPARENCY_MASK = 4
_NO_IMAGES = {
    TRANSPARENCY_MASK: "a transparency mask",
    32803: "a colour filter mosaic (raw camera data); develop it first",
}
# Tag of DNG: the stored numbers are places in this table.
_LINEARIZATION_TABLE = 50712
# One strip is decoded to check that its codec works, unless decoding it takes noticeable time.
_TRIAL_BYTES = 64 << 20


def why_not_restorable(page: Any) -> str | None:
    """One clause that says why, or None if the page can be restored.

    Raises
    ------
    Exception
        Of any kind, if the tags are damaged or the compression is not known.
    """
    if page.dtype is None:
        return f"pixel type not supported: {page.bitspersample} bits, format {page.sampleformat}"
    if 0 in page.shaped:
        return f"zero size {page.shape}"
    if page.imagedepth > 1:
        return f"a volume of {page.imagedepth} slices; save them as pages"
    if int(page.photometric) in _NO_IMAGES:
        return _NO_IMAGES[int(page.photometric)]
    if page.dtype.kind == "c":
        return "complex numbers"
    if int(page.photometric) == LINEAR_RAW and _LINEARIZATION_TABLE in page.tags:
        return "values of a DNG that a table makes linear; develop it or save it as TIFF first"
    if pillow_page.is_for_pillow(page):
        return _unreadable_by_pillow(page)
    return _unreadable(page)


def _unreadable_by_pillow(page: Any) -> str | None:
    needed = math.prod(page.shaped) * page.dtype.itemsize
    if needed > SEGMENT_LIMIT_BYTES:
        return (
            f"decodes to {needed / 2**30:.1f} GiB, more than the {SEGMENT_LIMIT_BYTES / 2**30:.0f} GiB "
            "that are held at once; save it in tiles first"
        )
    try:
        pillow_page.decode(page)
    except SourceError as error:
        return str(error)
    return None


def _unreadable(page: Any) -> str | None:
    """Why the pixels cannot be read: the file is truncated, a strip is too large, or its codec is unknown."""
    size = page.parent.filehandle.size
    layout = row_layout(page)
    if layout is not None:
        cut = layout.end > size
        return f"truncated: {size} bytes, pixels go on to {layout.end}" if cut else None
    high, wide = segment_shape(page)
    planes, _, height, width, _ = page.shaped
    segments = planes * -(-height // high) * -(-width // wide)
    offsets, counts = page.dataoffsets[:segments], page.databytecounts[:segments]
    if min(len(offsets), len(counts)) < segments:
        return f"damaged: {len(offsets)} of {segments} strips or tiles are listed"
    end = max(int(offset) + int(count) for offset, count in zip(offsets, counts, strict=True))
    if end > size:
        return f"truncated: the file has {size} bytes, its strips or tiles go on to byte {end}"
    needed = segment_bytes(page)
    if needed > SEGMENT_LIMIT_BYTES:
        return (
            f"one strip or tile decodes to {needed / 2**30:.1f} GiB, more than the "
            f"{SEGMENT_LIMIT_BYTES / 2**30:.0f} GiB that are held at once; save it in tiles first"
        )
    page.decode(None, 0)  # raises for an unknown codec
    written = next((n for n, count in enumerate(counts) if count), None)
    if needed <= _TRIAL_BYTES and written is not None:
        return _trial(page, written)
    return None


def _trial(page: Any, index: int) -> str | None:
    file = os.open(page.parent.filehandle.path, os.O_RDONLY)
    try:
        decode_segment(page, file, index)
    except SourceError as error:
        return str(error).split(": ", 2)[-1]
    finally:
        os.close(file)
    return None


def is_transparency_mask(info: ImageInfo) -> bool:
    """Whether a page is no image but says which pixels of another one are seen."""
    return info.reason == _NO_IMAGES[TRANSPARENCY_MASK]
