"""JPEG XL: its size from the codestream, EXIF and XMP from the boxes, and its pixels by imagecodecs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import imagecodecs

from glassplate.pipeline.sources.raster.header import UNASSOCIATED, RasterHeader, interpretation
from glassplate.pipeline.sources.raster.jpeg2000 import boxes
from glassplate.pipeline.sources.segments import SEGMENT_LIMIT_BYTES
from glassplate.pipeline.sources.tiff.tags import described

CODESTREAM = b"\xff\x0a"

# Bits of a length and what is added to them, by a selector of two bits; the codestream, ISO/IEC 18181-1.
_LENGTHS = ((9, 1), (13, 1), (18, 1), (30, 1))
# Width by height, by a number of three bits; 0 means that the width is stated.
_RATIOS = ((0, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
# The decoder computes in floats of four bytes.
_SAMPLE_BYTES = 4
_ORIENTATION = 274


def header_of(path: Path) -> RasterHeader:
    """Read the size and the metadata of a file, and decode it, for the type of its pixels.

    The decoder turns it upright, as its header says.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    raw = path.read_bytes()
    stream, exif, xmp = _parts(raw)
    width, height = size_of(stream)
    if width * height * _SAMPLE_BYTES > SEGMENT_LIMIT_BYTES:
        return RasterHeader(width, height, 1, 8, decoder_bytes=_SAMPLE_BYTES)
    try:
        pixels = imagecodecs.jpegxl_decode(raw)
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    metadata = described(exif, xmp)
    # the pixels are upright already
    metadata["tags"] = [tag for tag in metadata["tags"] if tag[0] != _ORIENTATION]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    metadata |= interpretation(channels, alpha=UNASSOCIATED if channels in (2, 4) else None)
    reason = None
    if pixels.ndim > 3:
        reason = f"an animation of {len(pixels)} frames; save one as PNG or TIFF first"
    elif pixels.dtype.kind not in "iu":
        reason = f"JPEG XL of {pixels.dtype.name}; save it as TIFF first"
    return RasterHeader(
        *(pixels.shape[1], pixels.shape[0], channels, 8 * pixels.dtype.itemsize, metadata),
        reason=reason,
        note="the colour profile of JPEG XL is not read; its numbers are taken for sRGB",
    )


def _parts(raw: bytes) -> tuple[bytes, bytes | None, bytes | None]:
    """The start of the codestream, EXIF and XMP."""
    if raw.startswith(CODESTREAM):
        return raw, None, None
    stream, exif, xmp = b"", None, None
    for kind, content in boxes(raw):
        if kind == b"jxlc":
            stream = content
        elif kind == b"jxlp" and not stream:
            stream = content[4:]  # after the number of the part
        elif kind == b"Exif":
            exif = content[4 + int.from_bytes(content[:4], "big") :]
        elif kind == b"xml ":
            xmp = content
    return stream, exif, xmp


def size_of(stream: bytes) -> tuple[int, int]:
    """Width and height that the start of a codestream states, before the image is turned.

    Raises
    ------
    ValueError
        If it is no codestream.
    """
    if not stream.startswith(CODESTREAM):
        raise ValueError("no codestream")
    bits, at = int.from_bytes(stream[2:18], "little"), 0

    def take(count: int) -> int:
        nonlocal at
        at += count
        return bits >> (at - count) & ((1 << count) - 1)

    small = bool(take(1))
    height = _length(take, small)
    ratio = take(3)
    top, bottom = _RATIOS[ratio]
    width = height * top // bottom if ratio else _length(take, small)
    return width, height


def _length(take: Callable[[int], int], small: bool) -> int:
    """A length: eighths in five bits, or a number of as many bits as a selector says."""
    if small:
        return 8 * (take(5) + 1)
    count, more = _LENGTHS[take(2)]
    return take(count) + more
