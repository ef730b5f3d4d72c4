"""Readers of file formats, found by the first bytes of a file: glassplate's own and those of other packages.

A package adds a format by an entry point of the group ``glassplate.readers``. It names an object that has
what `Reader` has::

    [project.entry-points."glassplate.readers"]
    npy = "my_package.npy_reader:READER"

Its source may be an `ArraySource`, which makes a reader of some twenty lines. The formats of glassplate are
asked first, then the others by the names of their entry points.
"""

from __future__ import annotations

import functools
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, runtime_checkable

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.sources.source import Format, ImageInfo, Source, SourceSpec
from glassplate.pipeline.sources.unpack import first_bytes
from glassplate.pipeline.text import one_line_with_type

GROUP = "glassplate.readers"
# Bytes of the beginning of a file that a reader is shown.
START_BYTES = 512


@runtime_checkable
class Reader(Protocol):
    """What reads the files of one format.

    It is called in every process that reads pixels, and must not keep a file open but in the source that it
    returns. Whatever it raises becomes a `SourceError` that names the file.
    """

    @property
    def name(self) -> str:
        """Name of the format in lower case, which `glassplate inspect` prints."""
        ...

    @property
    def like(self) -> Format:
        """The format whose conventions its images follow, which is the `format` of its sources.

        "fits" stands for measurements in a physical unit, which get the recipes of astronomy and FITS
        exports; "tiff" for pictures.
        """
        ...

    def reads(self, start: bytes) -> bool:
        """Whether a file of which these are the first `START_BYTES` bytes, or all, is of this format."""
        ...

    def images(self, path: Path) -> tuple[list[ImageInfo], list[str]]:
        """List every image of a file, also those that cannot be restored, and the warnings of the reading."""
        ...

    def open(self, spec: SourceSpec, path: Path) -> Source:
        """Open the image that `spec` names by its ``hdu`` or ``page``; without either the first that fits.

        Parameters
        ----------
        spec
            Its ``path`` is the file as the user named it, for messages.
        path
            The file to read: the same, or an unpacked copy of it.
        """
        ...


def find_reader(path: Path) -> Reader:
    """Find the reader of a file by its first bytes; a packed file is judged by its content.

    Raises
    ------
    SourceError
        If there is no such file, or it is empty, or no reader knows its format.
    """
    start = first_bytes(path, START_BYTES)
    if not start:
        raise SourceError(f"{path}: is empty")
    for reader in _own_readers():
        if reader.reads(start):
            return reader
    found, broken = _other_readers()
    for reader in found:
        if reader.reads(start):
            return reader
    raise SourceError(f"{path}: {_refusal(start)}{broken}")


@functools.cache
def _own_readers() -> tuple[Reader, ...]:
    from glassplate.pipeline.sources.own_readers import OWN_READERS

    return OWN_READERS


@functools.cache
def _other_readers() -> tuple[tuple[Reader, ...], str]:
    """Readers of entry points, and what to say of those that cannot be loaded."""
    found, broken = [], []
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        # a package that is installed in part may raise anything when it is imported
        try:
            reader = point.load()
        except Exception as error:
            broken.append(f"{point.name} ({one_line_with_type(error)})")
            continue
        if isinstance(reader, Reader):
            found.append(reader)
        else:
            broken.append(f"{point.name} ({point.value} is no reader)")
    said = f"; these readers cannot be loaded: {', '.join(broken)}" if broken else ""
    return tuple(found), said


# Formats that are not read, by their first bytes, so that the message can name them.
_NOT_READ = {
    b"BM": "a BMP image",
    b"GIF8": "a GIF image",
    b"PK\x03\x04": "a ZIP archive; unpack it first",
    b"\xfd7zXZ": "packed by xz; unpack it first",
    b"\x28\xb5\x2f\xfd": "packed by zstd; unpack it first",
    b"\x89HDF": "an HDF5 file",
    b"%PDF": "a PDF document",
    b"XTENSION": "a FITS extension without its primary header",
}


def _refusal(start: bytes) -> str:
    for magic, name in _NOT_READ.items():
        if start.startswith(magic):
            return f"is {name}; FITS, TIFF, PNG, JPEG, JPEG 2000, WebP and JPEG XL are read"
    return (
        "is no FITS, TIFF, PNG or JPEG, nor JPEG 2000, WebP or JPEG XL; it begins with "
        f"{start[:8]!r}"
    )
