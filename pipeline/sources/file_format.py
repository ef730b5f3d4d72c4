"""Which format a file is, by its first bytes."""

from __future__ import annotations

from pathlib import Path

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.sources.source import Format
from glassplate.pipeline.sources.unpack import first_bytes

_MAGIC: dict[bytes, Format] = {
    b"SIMPLE": "fits",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
}

# Formats that are not read, by their first bytes, so that the message can name them.
_OTHER_FORMATS = {
    b"BM": "a BMP image",
    b"GIF8": "a GIF image",
    b"\x1f\x9d": "packed by compress (.Z); uncompress it first",
    b"PK\x03\x04": "a ZIP archive; unpack it first",
    b"\xfd7zXZ": "packed by xz; unpack it first",
    b"\x28\xb5\x2f\xfd": "packed by zstd; unpack it first",
    b"\0\0\0\x0cjP": "a JPEG 2000 image",
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
    for start, name in _OTHER_FORMATS.items():
        if magic.startswith(start):
            raise SourceError(f"{path}: is {name}; FITS, TIFF, PNG and JPEG are read")
    raise SourceError(f"{path}: is no FITS, TIFF, PNG or JPEG; it begins with {magic[:8]!r}")
