"""EXIF: the tags of a photograph and its EXIF and GPS directories, read and written value by value.

Each value is kept with its stored bytes and type, so that values which are not interpreted here (a maker's
note, a rational of 0/0) are exported unchanged.
"""

from __future__ import annotations

import base64
import io
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from glassplate.pipeline.reader_warnings import collected_warnings

# Tags of the main directory that point to the two others.
EXIF, GPS = 34665, 34853
POINTERS = {"exif": EXIF, "gps": GPS}

# Bytes of a value by its TIFF type; a rational is two numbers, whose bytes are swapped one by one.
_SIZES = {
    **{1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4},
    **{16: 8, 17: 8, 18: 8},
}
# Types of the places of further directories, which are not carried.
_PLACES_OF_DIRECTORIES = (13, 18)
_RATIONALS = (5, 10)

# A directory of more entries is damaged; tifffile has the same limit.
_MOST_ENTRIES = 4096
# Largest value that is kept, in bytes. Makers' notes take some ten thousand bytes; previews take more.
_MOST_BYTES = 1 << 20

_SHORT, _LONG, _RATIONAL = 3, 4, 5
_WIDTH, _HEIGHT = 40962, 40963
# Pixels per unit of length on the sensor, which grow as pixels become finer.
_FOCAL_PLANE = (41486, 41487)
# Positions and sizes in pixels: SubjectArea and SubjectLocation.
_PLACES = (41492, 41996)
# The pointer to the interoperability directory, which is not carried.
_INTEROPERABILITY = 40965

Reader = Callable[[int, int], bytes]
"""Returns bytes of a file by offset and count; fewer at its end."""


@dataclass(frozen=True)
class Entry:
    """One value of a directory, as it is stored."""

    code: int
    dtype: int
    """TIFF's number of the type."""
    count: int
    raw: bytes
    """In little-endian order."""

    def to_json(self) -> list[Any]:
        """Code, type, count and the bytes in base64."""
        return [self.code, self.dtype, self.count, base64.b64encode(self.raw).decode()]

    @staticmethod
    def from_json(stored: Sequence[Any]) -> Entry:
        """The inverse of `to_json`."""
        code, dtype, count, raw = stored
        return Entry(int(code), int(dtype), int(count), base64.b64decode(raw))


def read_directory(read: Reader, offset: int, order: str, *, big: bool = False) -> list[Entry]:
    """Entries of the directory at an offset.

    Parameters
    ----------
    read
        Gives bytes of the file.
    offset
        Where the directory begins.
    order
        Byte order of the file, ``<`` or ``>``.
    big
        Whether the file is a BigTIFF, with wider counts and offsets.

    Returns
    -------
    entries
        Those that are whole; none of a directory that is damaged or lies beyond the file.
    """
    head, size, wide = (8, 20, "Q") if big else (2, 12, "I")
    start = read(offset, head)
    if len(start) < head:
        return []
    (count,) = struct.unpack(f"{order}{'Q' if big else 'H'}", start)
    if count > _MOST_ENTRIES:
        return []
    table = read(offset + head, count * size)
    entries = []
    for at in range(0, len(table) - size + 1, size):
        code, dtype, number = struct.unpack_from(f"{order}HH{wide}", table, at)
        length = _SIZES.get(dtype, 0) * number
        if not 0 < length <= _MOST_BYTES or code == _INTEROPERABILITY:
            continue
        inside = table[at + 4 + struct.calcsize(wide) : at + size]
        if length > len(inside):
            inside = read(struct.unpack(f"{order}{wide}", inside)[0], length)
        if len(inside) >= length:
            raw = _byteswapped(inside[:length], dtype) if order == ">" else inside[:length]
            entries.append(Entry(code, dtype, number, raw))
    return entries


def _byteswapped(raw: bytes, dtype: int) -> bytes:
    """The numbers with swapped bytes."""
    unit = 4 if dtype in _RATIONALS else _SIZES[dtype]
    return raw if unit == 1 else np.frombuffer(raw, f"u{unit}").byteswap().tobytes()


def packed_directory(entries: Sequence[Entry], offset: int, *, big: bool) -> bytes:
    """The bytes of a little-endian directory at an offset, followed by its values."""
    size, wide, room = (20, "Q", 8) if big else (12, "I", 4)
    at = offset + (8 if big else 2) + len(entries) * size + room
    table, values = [], b""
    for entry in sorted(entries, key=lambda entry: entry.code):
        value = entry.raw.ljust(room, b"\0")
        if len(entry.raw) > room:
            value = struct.pack(f"<{wide}", at + len(values))
            values += entry.raw + b"\0" * (len(entry.raw) % 2)
        table.append(struct.pack(f"<HH{wide}", entry.code, entry.dtype, entry.count) + value)
    head = struct.pack("<Q" if big else "<H", len(entries))
    return b"".join([head, *table, b"\0" * room, values])


def exif_tags(blob: bytes) -> tifffile.TiffTags | None:
    """Tags of the main directory of an EXIF block; None where it is damaged."""
    try:
        # tifffile warns that there are no pixels
        with collected_warnings("EXIF"), tifffile.TiffFile(io.BytesIO(blob)) as tiff:
            return tiff.pages.first.tags
    # a damaged directory raises struct.error, ValueError, IndexError, ...
    except Exception:
        return None


def exif_directories(blob: bytes) -> dict[str, list[list[Any]]]:
    """The EXIF and GPS directories of an EXIF block, as `Entry.to_json` gives their entries."""
    order = {b"II": "<", b"MM": ">"}.get(blob[:2])
    if order is None or len(blob) < 8:
        return {}

    def read(at: int, count: int) -> bytes:
        return blob[at : at + count]

    (first,) = struct.unpack_from(f"{order}I", blob, 4)
    return directories_of(read, read_directory(read, first, order), order)


def directories_of(
    read: Reader, main: Sequence[Entry], order: str, *, big: bool = False
) -> dict[str, list[list[Any]]]:
    """The directories to which the main one points, under the keys ``exif`` and ``gps``."""
    found = {}
    for name, code in POINTERS.items():
        raw = next((entry.raw for entry in main if entry.code == code), b"")
        entries = read_directory(read, int.from_bytes(raw, "little"), order, big=big) if raw else []
        kept = [entry for entry in entries if entry.dtype not in _PLACES_OF_DIRECTORIES]
        if kept:
            found[name] = [entry.to_json() for entry in kept]
    return found


def placeholders(found: Mapping[str, Any]) -> list[tuple[int, int, int, int, bool]]:
    """Tags for tifffile's writer that reserve places for the pointers, which it cannot write itself."""
    return [(code - 1, _LONG, 1, 0, True) for name, code in POINTERS.items() if found.get(name)]


def write_directories(
    path: Path, of_pages: Sequence[Mapping[str, Any]], factor: float, size: tuple[int, int]
) -> None:
    """Append the EXIF and GPS directories to a TIFF that was written with `placeholders`.

    Parameters
    ----------
    path
        A little-endian TIFF or BigTIFF.
    of_pages
        Of each page that has placeholders, and of others: entries under the keys ``exif`` and ``gps``.
    factor
        How many times finer the pixels are than those that the entries describe.
    size
        Height and width of the image in the file.
    """
    described = [found for found in of_pages if placeholders(found)]
    if not described:
        return
    codes = [code - 1 for code in POINTERS.values()]
    with tifffile.TiffFile(path) as tiff:
        big = tiff.is_bigtiff
        places = [
            {code: page.tags[code].offset for code in codes if code in page.tags}
            for page in tiff.pages
        ]
    written: dict[bytes, int] = {}
    with path.open("r+b") as file:
        for found, of_page in zip(described, (p for p in places if p), strict=True):
            for name, code in POINTERS.items():
                if code - 1 not in of_page:
                    continue
                entries = [Entry.from_json(stored) for stored in found[name]]
                packed = packed_directory(_scaled(entries, factor, size), 0, big=big)
                if packed not in written:
                    # pages with the same directory share it
                    end = file.seek(0, os.SEEK_END)
                    start = end + end % 2
                    file.write(b"\0" * (end % 2))
                    file.write(packed_directory(_scaled(entries, factor, size), start, big=big))
                    written[packed] = start
                file.seek(of_page[code - 1])
                dtype = 16 if big else _LONG
                pointer = (code, dtype, 1, written[packed])
                file.write(struct.pack("<HHQQ" if big else "<HHII", *pointer))


def _scaled(entries: Sequence[Entry], factor: float, size: tuple[int, int]) -> list[Entry]:
    """The entries with their counts of pixels scaled; the others keep their bytes."""
    height, width = size
    scaled = []
    for entry in entries:
        if entry.code in (_WIDTH, _HEIGHT):
            length = width if entry.code == _WIDTH else height
            entry = replace(entry, dtype=_LONG, count=1, raw=struct.pack("<I", length))
        elif entry.code in _FOCAL_PLANE and entry.dtype == _RATIONAL:
            top, bottom = struct.unpack("<II", entry.raw[:8])
            finer = round(top * factor)
            if finer < 2**32:
                entry = replace(entry, raw=struct.pack("<II", finer, bottom))
        elif entry.code in _PLACES and entry.dtype == _SHORT:
            numbers = np.rint(np.frombuffer(entry.raw, "<u2") * factor)
            entry = replace(entry, raw=np.clip(numbers, 0, 65535).astype("<u2").tobytes())
        scaled.append(entry)
    return scaled
