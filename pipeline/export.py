"""Back to FITS and TIFF: one level of a result as a file that needs no glassplate to be read."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tifffile

from glassplate.pipeline.errors import CapacityError, UsageError
from glassplate.pipeline.export_fits import write_fits
from glassplate.pipeline.export_tiff import write_tiff
from glassplate.pipeline.exported import open_level
from glassplate.pipeline.quiet import collected_warnings

_WRITERS = {
    ".fits": write_fits,
    ".fit": write_fits,
    ".fts": write_fits,
    ".tif": write_tiff,
    ".tiff": write_tiff,
}
_BLOCK = 2880


def export(store: Path, target: Path, level: int = 0) -> Path:
    """Write one level of a result as FITS or TIFF, as the name of the target says.

    The image is copied in blocks: memory does not grow with it. The file appears under its name
    whole or not at all.

    Parameters
    ----------
    store
        A result.
    target
        ``.fits``, ``.fit``, ``.fts``, ``.tif`` or ``.tiff``. An existing file is replaced only
        where it is an earlier export.
    level
        Level of the pyramid; each is half the size of the one before.

    Returns
    -------
    target
        The file written.

    Raises
    ------
    UsageError
        If the name, the level or the folder will not do, or the file exists and is not an export.
    StoreError
        If there is no result.
    CapacityError
        If the disk is full.
    """
    check_target(target)
    image = open_level(store, level)
    with _appearing(target) as partial:
        _WRITERS[target.suffix.lower()](image, partial)
    return target


def check_target(target: Path) -> None:
    """Refuse a target that `export` could not write, before any work is done.

    Raises
    ------
    UsageError
        As `export`.
    """
    suffix = target.suffix.lower()
    if suffix in (".gz", ".bz2"):
        raise UsageError(
            f"{target}: packed exports are not written; name it {target.with_suffix('')} "
            "and pack it afterwards"
        )
    if suffix not in _WRITERS:
        raise UsageError(f"{target}: exports are {', '.join(_WRITERS)}; choose one of these")
    if not target.parent.is_dir():
        raise UsageError(f"{target}: there is no folder {target.parent}")
    if target.is_dir() or (target.exists() and not is_export(target)):
        raise UsageError(f"{target}: exists and was not made by glassplate; choose another name")


def is_export(path: Path) -> bool:
    """Whether a file is an export of glassplate: by GPRUNID in FITS, by Software in TIFF."""
    with path.open("rb") as file:
        start = file.read(6)
        if start == b"SIMPLE":
            file.seek(0)
            while block := file.read(_BLOCK):
                cards = [block[at : at + 80] for at in range(0, len(block), 80)]
                if any(card.startswith(b"GPRUNID =") for card in cards):
                    return True
                if any(card.rstrip() == b"END" for card in cards):
                    return False
            return False
    try:
        with collected_warnings(path), tifffile.TiffFile(path) as tiff:
            return str(tiff.pages[0].tags.valueof(305) or "").startswith("glassplate")
    # whatever cannot be read was not written here
    except Exception:
        return False


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A name beside the target that becomes the target when the body ends well."""
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, target)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise CapacityError(
                f"{target}: the disk is full; free some space or choose another folder"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UsageError(f"{target}: cannot be written: {error.strerror}") from error
        raise
    finally:
        partial.unlink(missing_ok=True)
