"""Back to FITS and TIFF: one level of a result as a file that needs no glassplate to be read.

A file is an export by what stands in it, and one process at a time writes it. It is made from a result whose
run has ended and whose files are as that run wrote them, or not at all.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import tifffile

from glassplate.pipeline.errors import CapacityError, GlassplateError, StoreError, UsageError
from glassplate.pipeline.export.fits import write_fits
from glassplate.pipeline.export.level import ExportedImage, open_level
from glassplate.pipeline.export.tiff import write_tiff
from glassplate.pipeline.provenance.damage import check_undamaged
from glassplate.pipeline.provenance.documents import read_manifest
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.fits.scan import BLOCK, CARD, MOST_BLOCKS
from glassplate.pipeline.store.lock import locked
from glassplate.pipeline.store.ome_zarr import read_attributes

_WRITERS = {
    ".fits": write_fits,
    ".fit": write_fits,
    ".fts": write_fits,
    ".tif": write_tiff,
    ".tiff": write_tiff,
}


def export(store: Path, target: Path, level: int = 0) -> Path:
    """Write one level of a result as FITS or TIFF, as the name of the target says.

    The image is copied in blocks: memory does not grow with it. The file appears under its name
    whole or not at all.

    Parameters
    ----------
    store
        A result whose run has ended. Nothing is written into it.
    target
        ``.fits``, ``.fit``, ``.fts``, ``.tif`` or ``.tiff``. An existing file is replaced only
        where it is an earlier export, of whichever result.
    level
        Level of the pyramid; each is half the size of the one before.

    Returns
    -------
    target
        The file written.

    Raises
    ------
    UsageError
        If the name, the level or the folder will not do, the file exists and is not an export, or
        another process is writing it.
    StoreError
        If there is no result, its run has not ended, it is damaged, or it was changed meanwhile.
    CapacityError
        If the disk is full.
    """
    check_target(target)
    with locked(target, f"export of {store}", other="file name"):
        return write_export(store, target, level)


def write_export(store: Path, target: Path, level: int = 0) -> Path:
    """Do what `export` does, for a caller that holds the lock of the target."""
    check_target(target)
    read_attributes(store)  # the clearest refusal where there is no result at all
    before = _state_of_run(store)
    check_undamaged(store, under=f"{level}/", thorough=True)
    image = open_level(store, level)
    with _appearing(target) as partial:
        _write(image, target, partial)
        if _state_of_run(store) != before:
            raise StoreError(f"{store}: was changed while it was exported; give the command again")
    return target


def _state_of_run(store: Path) -> tuple[Any, ...]:
    """What changes in the manifest as soon as another run takes up or replaces a result.

    Raises
    ------
    StoreError
        If the run has not ended.
    """
    manifest = read_manifest(store)
    status = manifest["status"]
    if status not in ("complete", "partial"):
        raise StoreError(
            f"{store}: its run has not ended (status {status}); let it end, or give the same restore command "
            "again, then export"
        )
    return status, manifest["run_id"], manifest["sessions"]


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
    """Whether a file is an export of glassplate: by GPRUNID in FITS, by Software in TIFF.

    What is no regular file is none, and is not opened: a named pipe would keep the process waiting.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if file.read(6) == b"SIMPLE":
            file.seek(0)
            return _names_its_run(file)
    try:
        with collected_warnings(path), tifffile.TiffFile(path) as tiff:
            return str(tiff.pages[0].tags.valueof(305) or "").startswith("glassplate")
    # whatever cannot be read was not written here
    except Exception:
        return False


def _names_its_run(file: IO[bytes]) -> bool:
    """Whether the first header of a FITS file has the card of an export."""
    for _ in range(MOST_BLOCKS):
        block = file.read(BLOCK)
        cards = [block[at : at + CARD] for at in range(0, len(block), CARD)]
        if any(card.startswith(b"GPRUNID =") for card in cards):
            return True
        if not cards or any(card.rstrip() == b"END" for card in cards):
            return False
    return False


def _write(image: ExportedImage, target: Path, partial: Path) -> None:
    """Write a level as the suffix of the target says.

    Raises
    ------
    StoreError
        If the header or the tags that the source had cannot be carried over.
    """
    try:
        _WRITERS[target.suffix.lower()](image, partial)
    except (GlassplateError, OSError):
        raise
    # astropy and tifffile raise what they please at what another program has written
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise StoreError(
            f"{target}: the header or the tags of {image.origin} cannot be carried over: {why}; the result "
            "itself is whole, export it in the other format"
        ) from error


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A name beside the target that becomes the target when the body ends well."""
    # the one who holds the lock writes it, so that it takes the place of what a killed one has left
    partial = target.with_name(f".{target.name}.partial")
    try:
        _clear_leftovers(target)
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


def _clear_leftovers(target: Path) -> None:
    """Remove what killed exports of earlier versions have left, which put the process into the name."""
    name = re.compile(re.escape(f".{target.name}.") + r"\d+\.partial")
    for path in target.parent.iterdir():
        if name.fullmatch(path.name):
            path.unlink(missing_ok=True)
