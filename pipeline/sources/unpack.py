"""Packed files (.gz, .bz2, .Z) are unpacked to a scratch folder.

A box of a packed file can only be read by unpacking all that comes before it: reading one 256x256 box of a
4000x4000 .fits.gz through astropy's sections took 56 s.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from typing import IO, Literal

from glassplate.pipeline.errors import CapacityError, SourceError, is_disk_full
from glassplate.pipeline.files import replacing
from glassplate.pipeline.sources.guarded_reading import (
    FIRST_BYTES_S,
    answered_within,
    check_regular,
)
from glassplate.pipeline.sources.source import SourceSpec

_STEP_BYTES = 4 << 20

# Largest compression ratio of deflate: 258 bytes to 2 bits (zlib's technical notes).
_MOST_SHRINKAGE = 1032

# Free space is checked again each time this much is written: the unpacked size of a .bz2 is not known
# beforehand, and that of a .gz only modulo 4 GiB.
_CHECK_BYTES = 64 << 20


# A file of compress (.Z) is not unpacked if it is more than this many bytes and as many times its size: its
# reader keeps all strings that it has seen, which would take as much memory. Images of one value do so.
_MOST_OF_COMPRESS, _MOST_SHRINKAGE_OF_COMPRESS = 256 << 20, 100

# Any packed file may have so many bytes when unpacked, and a larger one so many times its size. Masks of
# a single value shrink more than that, and are small; what is large and shrinks so much was made to fill a
# disk.
_MOST_UNPACKED, _MOST_TIMES = 2 << 30, 200

# Raises the first of these limits.
LIMIT_VARIABLE = "GLASSPLATE_MOST_UNPACKED_GB"

Packing = Literal["gzip", "bzip2", "compress"]


def is_packed(path: Path) -> bool:
    """Whether the file is gzip, bzip2 or of Unix's compress, by its first bytes.

    Raises
    ------
    SourceError
        If the file cannot be read.
    """
    return _packing(path) is not None


def first_bytes(path: Path, count: int) -> bytes:
    """The first bytes of a file, or of the content of a packed file; fewer where it is short.

    Raises
    ------
    SourceError
        If the file cannot be read or its packed stream is damaged.
    """
    packing = answered_within(FIRST_BYTES_S, path, lambda: _packing(path))
    try:
        with path.open("rb") if packing is None else _opened(path, packing) as file:
            return file.read(count)
    except SourceError:
        raise
    # the reader of compress raises ValueError
    except (EOFError, OSError, zlib.error, ValueError) as error:
        raise SourceError(f"{path}: truncated or damaged {packing} stream") from error


def scratch_folder() -> Path:
    """Folder of unpacked files: under ``GLASSPLATE_SCRATCH``, else under the system's temporary folder."""
    root = Path(os.environ.get("GLASSPLATE_SCRATCH") or tempfile.gettempdir())
    return root / f"glassplate-{os.getuid()}"


def unpacked(path: Path) -> Path:
    """The unpacked copy of a packed file; the path itself where the file is not packed.

    The name of the copy is made from the path, size and modification time of the packed file. The copy
    appears complete or not at all, and the processes of one machine share it.

    Raises
    ------
    SourceError
        If the file cannot be read, or its packed stream is truncated or damaged.
    CapacityError
        If the scratch folder has no room for it.
    """
    packing = _packing(path)
    if packing is None:
        return path
    target = _target(path)
    if not target.is_file():
        _unpack(path, packing, target)
    return target


def forget_unpacked(spec: SourceSpec) -> None:
    """Remove the unpacked copies of a source's files on this machine; open ones stay readable."""
    for path in spec.files:
        if path.is_file() and is_packed(path):
            _target(path).unlink(missing_ok=True)


@contextmanager
def unpacked_for_a_while(path: Path) -> Iterator[Path]:
    """As `unpacked`, and remove the copy afterwards unless it was there before."""
    was_there = not is_packed(path) or _target(path).is_file()
    try:
        yield unpacked(path)
    finally:
        if not was_there:
            forget_unpacked(SourceSpec(path))


def _packing(path: Path) -> Packing | None:
    check_regular(path)
    try:
        with path.open("rb") as file:
            magic = file.read(3)
    except OSError as error:
        raise SourceError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from error
    if magic[:2] == b"\x1f\x8b":
        return "gzip"
    if magic[:2] == b"\x1f\x9d":
        return "compress"
    return "bzip2" if magic == b"BZh" else None


def _target(path: Path) -> Path:
    status = path.stat()
    identity = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
    digest = hashlib.sha256(os.fsencode(identity)).hexdigest()[:16]
    return scratch_folder() / f"{digest}-{path.stem}"


def _unpack(path: Path, packing: Packing, target: Path) -> None:
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CapacityError(
            f"scratch folder {target.parent}: {error.strerror}; set GLASSPLATE_SCRATCH to another"
        ) from error
    _need_room(path, target.parent, _expected_bytes(path, packing))
    handle, name = tempfile.mkstemp(prefix=f"{target.name}.", suffix=".partial", dir=target.parent)
    try:
        with (
            replacing(target, Path(name)),
            os.fdopen(handle, "wb") as out,
            _opened(path, packing) as packed,
        ):
            _copy(packed, out, path, target.parent)
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise SourceError(f"{path}: truncated or damaged {packing} stream") from error
    except OSError as error:
        if isinstance(error, SourceError):
            raise
        if is_disk_full(error):
            raise _no_room(path, target.parent, _CHECK_BYTES) from error
        # bz2 reports damage as a plain OSError
        raise SourceError(f"{path}: truncated or damaged {packing} stream") from error


def _opened(path: Path, packing: Packing) -> gzip.GzipFile | bz2.BZ2File | RawIOBase:
    if packing == "compress":
        return _opened_compress(path)
    return gzip.open(path, "rb") if packing == "gzip" else bz2.open(path, "rb")


def _opened_compress(path: Path) -> RawIOBase:
    """Open a file of compress, by the package that astropy uses for it.

    Raises
    ------
    SourceError
        If that package is not installed.
    """
    try:
        import uncompresspy
    except ImportError as error:
        raise SourceError(
            f"{path}: is packed by compress (.Z), which needs the package uncompresspy; install "
            "glassplate[compress], or uncompress it first"
        ) from error
    # the format has no end mark: what is read from the file notices that it is too short
    opened: RawIOBase = uncompresspy.LZWFile(path, warn_truncation=False, save_checkpoints=False)
    return opened


def _copy(
    packed: gzip.GzipFile | bz2.BZ2File | RawIOBase, out: IO[bytes], path: Path, folder: Path
) -> None:
    is_compress, most_unpacked = isinstance(packed, RawIOBase), _most_unpacked(path)
    most = max(_MOST_OF_COMPRESS, _MOST_SHRINKAGE_OF_COMPRESS * path.stat().st_size)
    written = checked = 0
    while step := packed.read(_STEP_BYTES):
        out.write(step)
        written += len(step)
        if is_compress and written > most:
            raise SourceError(
                f"{path}: is packed by compress (.Z) to less than 1/{_MOST_SHRINKAGE_OF_COMPRESS} of its "
                f"size, of which at most {_MOST_OF_COMPRESS >> 20} MiB are unpacked here; uncompress it first"
            )
        if written > most_unpacked:
            raise CapacityError(
                f"{path}: unpacks to more than {most_unpacked / 1e9:.1f} GB, over {_MOST_TIMES} times its "
                f"size; set {LIMIT_VARIABLE} to more if that is right"
            )
        if written - checked >= _CHECK_BYTES:
            _need_room(path, folder, _CHECK_BYTES)
            checked = written


def _most_unpacked(path: Path) -> float:
    """Bytes that a packed file may have when it is unpacked.

    Raises
    ------
    CapacityError
        If the limit that the environment gives is no number.
    """
    given = os.environ.get(LIMIT_VARIABLE)
    try:
        most = _MOST_UNPACKED if given is None else float(given) * 1e9
    except ValueError as error:
        raise CapacityError(f"{LIMIT_VARIABLE} is {given!r}; give a number of gigabytes") from error
    return max(most, _MOST_TIMES * path.stat().st_size)


def _expected_bytes(path: Path, packing: Packing) -> int:
    """Lower bound of the unpacked size; a gzip file ends with the size modulo 4 GiB."""
    size = path.stat().st_size
    if packing != "gzip" or size < 18:
        return size
    with path.open("rb") as file:
        file.seek(-4, os.SEEK_END)
        named = int.from_bytes(file.read(4), "little")
    return max(size, min(named, size * _MOST_SHRINKAGE))


def _need_room(path: Path, folder: Path, needed: int) -> None:
    if shutil.disk_usage(folder).free < needed:
        raise _no_room(path, folder, needed)


def _no_room(path: Path, folder: Path, needed: int) -> CapacityError:
    free = shutil.disk_usage(folder).free
    return CapacityError(
        f"{path}: unpacking needs {needed / 2**20:.0f} MiB more in {folder}, "
        f"{free / 2**20:.0f} MiB are free; set GLASSPLATE_SCRATCH to a larger folder"
    )
