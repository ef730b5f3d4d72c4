"""Which format a file is, by its first bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.sources.source import Format
from glassplate.pipeline.sources.unpack import first_bytes

NAMES: Mapping[Format, str] = {
    "fits": "FITS",
    "tiff": "TIFF",
    "png": "PNG",
    "jpeg": "JPEG",
    "jpeg2000": "JPEG 2000",
    "webp": "WebP",
    "jpegxl": "JPEG XL",
}
"""The formats that are read, as they are written in messages."""

_MAGIC: dict[bytes, Format] = {
    b"SIMPLE": "fits",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"\0\0\0\x0cjP  \r\n\x87\n": "jpeg2000",
    b"\xff\x4f\xff\x51": "jpeg2000",
    b"\0\0\0\x0cJXL \r\n\x87\n": "jpegxl",
    b"\xff\x0a": "jpegxl",
}

# Formats that are not read, by their first bytes, so that the message can name them.
_OTHER_FORMATS = {
    b"BM": "a BMP image",
    b"GIF8": "a GIF image",
    b"\x1f\x9d": "packed by compress (.Z); uncompress it first",
    b"PK\x03\x04": "a ZIP archive; unpack it first",
    b"\xfd7zXZ": "packed by xz; unpack it first",
    b"\x28\xb5\x2f\xfd": "packed by zstd; unpack it first",
    b"\x89HDF": "an HDF5 file",
    b"%PDF": "a PDF document",
    b"XISF": "a PixInsight XISF image; save it as FITS",
    b"XTENSION": "a FITS extension without its primary header",
}


def sniff_format(path: Path) -> Format:
    """Format of a file by its first bytes, never by its name; a packed file is judged by its content.

    Raises
    ------
    SourceError
        If there is no such file, or it is empty, or its format is not read.
    """
    magic = first_bytes(path, 16)
    if not magic:
        raise SourceError(f"{path}: is empty")
    for start, found in _MAGIC.items():
        if magic.startswith(start):
            return found
    if magic.startswith(b"RIFF") and magic[8:12] == b"WEBP":
        return "webp"
    for start, name in _OTHER_FORMATS.items():
        if magic.startswith(start):
            raise SourceError(
                f"{path}: is {name}; FITS, TIFF, PNG, JPEG, JPEG 2000, WebP and JPEG XL are read"
            )
    raise SourceError(
        f"{path}: is no FITS, TIFF, PNG or JPEG, nor JPEG 2000, WebP or JPEG XL; it begins with "
        f"{magic[:8]!r}"
    )
