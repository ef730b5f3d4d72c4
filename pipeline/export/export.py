"""Export of a level of a result as a FITS, TIFF or JPEG 2000 file.

The content of a file shows that it is an export. One process at a time writes it, and only from a result
whose run has ended and whose files are undamaged.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import tifffile

from glassplate.pipeline.errors import (
    CapacityError,
    GlassplateError,
    StoreError,
    UsageError,
    is_disk_full,
)
from glassplate.pipeline.export.fits import write_fits
from glassplate.pipeline.export.jpeg2000 import is_own_jpeg2000, write_jpeg2000
from glassplate.pipeline.export.level import ExportedImage, count_levels, open_level
from glassplate.pipeline.export.strength import FULL
from glassplate.pipeline.export.tiff.write import write_tiff
from glassplate.pipeline.files import replacing
from glassplate.pipeline.provenance.checksums import check_undamaged
from glassplate.pipeline.provenance.manifest import read_manifest
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.fits.scan import BLOCK, CARD, MOST_BLOCKS
from glassplate.pipeline.store.lock import locked
from glassplate.pipeline.store.ome_zarr import read_attributes
from glassplate.pipeline.text import one_line_with_type

# Bytes of a JPEG 2000 file among which the mark of an export is.
_START_BYTES = 4 << 20

_WRITERS = {
    ".fits": write_fits,
    ".fit": write_fits,
    ".fts": write_fits,
    ".tif": write_tiff,
    ".tiff": write_tiff,
    ".jp2": write_jpeg2000,
}
_FITS = (".fits", ".fit", ".fts")
_TIFF = (".tif", ".tiff")
# Attributes of results whose first row is at the top.
_TOP_DOWN = {"tiff", "raster"}


def export(
    store: Path, target: Path, level: int = 0, strength: float = FULL, *, pyramid: bool = False
) -> Path:
    """Write a level of a result as FITS, TIFF or JPEG 2000, according to the suffix of the target.

    The image is copied in blocks, so that memory does not grow with it. The file appears under its name
    whole or not at all.

    Parameters
    ----------
    store
        A result whose run has ended. Nothing is written into it.
    target
        ``.fits``, ``.fit``, ``.fts``, ``.tif``, ``.tiff`` or ``.jp2``. An existing file is replaced only if
        it is an export of glassplate.
    level
        Level of the pyramid. Each is half the size of the one before.
    strength
        Share of what was removed that stays removed: 1 writes the result, 0 the input's own pixels, less than
        1 something between, of level 0. Filled pixels stay filled.
    pyramid
        Whether the coarser levels are written, too, as a pyramidal BigTIFF.

    Returns
    -------
    target
        The file written.

    Raises
    ------
    UsageError
        If the name, the level, the strength or the folder is not suitable, the file exists and is no export,
        or another process is writing it.
    StoreError
        If there is no result, its run has not ended, it is damaged, or it was changed meanwhile.
    CapacityError
        If the disk is full.
    """
    check_target(target)
    with locked(target, f"export of {store}", other="file name"):
        return write_export(store, target, level, strength, pyramid=pyramid)


def write_export(
    store: Path, target: Path, level: int = 0, strength: float = FULL, *, pyramid: bool = False
) -> Path:
    """Do what `export` does. The caller must hold the lock of the target."""
    check_target(target)
    if pyramid:
        _check_pyramid(target, strength)
    read_attributes(store)  # has the clearest message if there is no result
    before = state_of_run(store)
    check_undamaged(store, under=f"{level}/", thorough=True)
    image = open_level(store, level, strength)
    image = replace(image, turned=is_turned(image.attributes, target))
    smaller = [
        replace(open_level(store, below), turned=image.turned)
        for below in (range(level + 1, count_levels(store)) if pyramid else ())
    ]
    for below in smaller:
        check_undamaged(store, under=f"{below.level}/", thorough=True)
    if image.removed is not None:
        for name in ("residual", "filled"):
            check_undamaged(store, under=f"{name}/", thorough=True)
    with _appearing(target) as partial:
        _write(image, target, partial, smaller)
        if state_of_run(store) != before:
            raise StoreError(f"{store}: was changed while it was exported; give the command again")
    return target


def _check_pyramid(target: Path, strength: float) -> None:
    """Refuse a pyramid that `export` could not write.

    Raises
    ------
    UsageError
    """
    if target.suffix.lower() not in _TIFF:
        raise UsageError(
            f"--pyramid: {target.name} is no TIFF; name it .tif (a JPEG 2000 file has its levels anyway)"
        )
    if strength != FULL:
        raise UsageError(
            f"--pyramid: the levels are those of the whole result, not of strength {strength:g}; "
            "leave out one of both"
        )


def is_turned(attributes: Mapping[str, Any], target: Path) -> bool:
    """Whether the rows of an export are in the opposite order of those of the result.

    FITS counts rows from the bottom, and TIFF, PNG, JPEG and JPEG 2000 from the top. The order of a result is
    that of its input.
    """
    is_fits = target.suffix.lower() in _FITS
    return not is_fits if "fits" in attributes else is_fits and not _TOP_DOWN.isdisjoint(attributes)


def state_of_run(store: Path) -> tuple[Any, ...]:
    """Return what changes in the manifest as soon as another run resumes or replaces the result.

    Raises
    ------
    StoreError
        If the run has not ended.
    """
    manifest = read_manifest(store)
    if not manifest.has_ended:
        raise StoreError(
            f"{store}: its run has not ended (status {manifest.status}); let it end, or give the same "
            "restore command again, then export"
        )
    return manifest.status, manifest.run_id, manifest.sessions


def check_target(target: Path) -> None:
    """Refuse a target that `export` could not write.

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
    check_replaceable(target, is_export)


def check_replaceable(target: Path, is_own: Callable[[Path], bool]) -> None:
    """Refuse a target without a folder, or one that exists and is no file of glassplate's own.

    Raises
    ------
    UsageError
    """
    if not target.parent.is_dir():
        raise UsageError(f"{target}: there is no folder {target.parent}")
    if target.is_dir() or (target.exists() and not is_own(target)):
        raise UsageError(f"{target}: exists and was not made by glassplate; choose another name")


def is_export(path: Path) -> bool:
    """Whether a file is an export of glassplate.

    It has GPRUNID in FITS, names it as Software in TIFF, or has an element of its own in JPEG 2000. Only
    regular files are opened, because opening a named pipe would block.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(8)
        file.seek(0)
        if start.startswith(b"SIMPLE"):
            return _names_its_run(file)
        if start.endswith(b"jP  "):
            return is_own_jpeg2000(file.read(_START_BYTES))
    try:
        with collected_warnings(path), tifffile.TiffFile(path) as tiff:
            return str(tiff.pages[0].tags.valueof(305) or "").startswith("glassplate")
    # glassplate writes no file that cannot be read
    except Exception:
        return False


def _names_its_run(file: IO[bytes]) -> bool:
    """Whether the first header of a FITS file has the card GPRUNID."""
    for _ in range(MOST_BLOCKS):
        block = file.read(BLOCK)
        cards = [block[at : at + CARD] for at in range(0, len(block), CARD)]
        if any(card.startswith(b"GPRUNID =") for card in cards):
            return True
        if not cards or any(card.rstrip() == b"END" for card in cards):
            return False
    return False


def _write(
    image: ExportedImage, target: Path, partial: Path, smaller: Sequence[ExportedImage]
) -> None:
    """Write a level, and for a pyramid the smaller ones, in the format of the target's suffix.

    Raises
    ------
    StoreError
        If the header or the tags of the source cannot be carried over.
    """
    try:
        if smaller:
            write_tiff(image, partial, smaller)
        else:
            _WRITERS[target.suffix.lower()](image, partial)
    except (GlassplateError, OSError):
        raise
    # astropy and tifffile raise many kinds of error for headers and tags of other programs
    except Exception as error:
        raise StoreError(
            f"{target}: the header or the tags of {image.origin} cannot be carried over: "
            f"{one_line_with_type(error)}; the result itself is whole, export it in the other format"
        ) from error


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """Yield a name beside the target. The file of that name becomes the target when the body ends well."""
    # always the same name, so that the next export replaces what a killed one left; the lock protects it
    partial = target.with_name(f".{target.name}.partial")
    try:
        with replacing(target, partial):
            yield partial
    except OSError as error:
        if is_disk_full(error):
            raise CapacityError(
                f"{target}: the disk is full; free some space or choose another folder"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UsageError(f"{target}: cannot be written: {error.strerror}") from error
        raise
