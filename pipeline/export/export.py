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
from typing import Any

from glassplate.pipeline.errors import (
    GlassplateError,
    NoRoomError,
    StoreError,
    UsageError,
    is_disk_full,
)
from glassplate.pipeline.events import Listener, Noted, Warned, ignore_event
from glassplate.pipeline.export.fits.plane_names import PlaneName
from glassplate.pipeline.export.fits.planes import Plane, open_planes
from glassplate.pipeline.export.fits.write import write_fits
from glassplate.pipeline.export.jpeg2000 import write_jpeg2000
from glassplate.pipeline.export.level import ExportedImage, count_levels, open_level
from glassplate.pipeline.export.own_files import is_export
from glassplate.pipeline.export.strength import FULL
from glassplate.pipeline.export.tiff.write import write_tiff
from glassplate.pipeline.files import replacing
from glassplate.pipeline.provenance.checksums import check_undamaged
from glassplate.pipeline.provenance.manifest import read_manifest
from glassplate.pipeline.store.lock import locked
from glassplate.pipeline.store.ome_zarr import read_attributes
from glassplate.pipeline.store.row_order import FROM_BOTTOM_AND_TOP, first_row_is_lowest
from glassplate.pipeline.text import one_line_with_type

_FITS = (".fits", ".fit", ".fts")
_TIFF = (".tif", ".tiff")
_JPEG2000 = (".jp2",)
# Attributes of results whose first row is at the top.
_TOP_DOWN = {"tiff", "raster"}


def export(
    stores: Path | Sequence[Path],
    target: Path,
    level: int = 0,
    strength: float = FULL,
    *,
    pyramid: bool = False,
    add: Sequence[PlaneName] = (),
    listener: Listener = ignore_event,
) -> Path:
    """Write a level of a result as FITS, TIFF or JPEG 2000, according to the suffix of the target.

    The parameters are what `glassplate export` offers.

    A FITS file has the structure of the input: all HDUs in their order, of which only the restored ones have
    other pixels. Several results of one input, each of another HDU, become one FITS file.

    The image is copied in blocks, so that memory does not grow with it. The file appears under its name
    whole or not at all.

    Parameters
    ----------
    stores
        A result whose run has ended, or several of one FITS file. Nothing is written into them.
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
    add
        Arrays of the result that a FITS file has as further extensions.
    listener
        Receives a warning if HDUs of the input cannot be copied, for example because it is not there, and a
        note if the rows are in the opposite order.

    Returns
    -------
    target
        The file written.

    Raises
    ------
    UsageError
        If the name, the level, the strength or the folder is not suitable, the file exists and is no export,
        several results are not of one FITS file, or another process is writing it.
    StoreError
        If there is no result, its run has not ended, it is damaged, or it was changed meanwhile.
    CapacityError
        If the disk is full.
    """
    stores = [stores] if isinstance(stores, Path) else list(stores)
    check_target(target)
    doing = f"export of {', '.join(map(str, stores))}"
    with locked(target, doing, other="file name"):
        return write_export(
            stores, target, level, strength, pyramid=pyramid, add=add, listener=listener
        )


def write_export(
    stores: Path | Sequence[Path],
    target: Path,
    level: int = 0,
    strength: float = FULL,
    *,
    pyramid: bool = False,
    add: Sequence[PlaneName] = (),
    listener: Listener = ignore_event,
) -> Path:
    """Do what `export` does, with its parameters. The caller must hold the lock of the target."""
    stores = [stores] if isinstance(stores, Path) else list(stores)
    check_target(target, several=len(stores) > 1)
    if add and target.suffix.lower() not in _FITS:
        raise UsageError(f"{target}: --add {add[0]} is for FITS only; name it .fits")
    if pyramid:
        _check_pyramid(target, strength)
    for store in stores:
        read_attributes(store)  # has the clearest message if there is no result
    before = [state_of_run(store) for store in stores]
    images = [_checked_level(store, target, level, strength) for store in stores]
    last = count_levels(stores[0]) if pyramid else 0
    smaller = [_checked_level(stores[0], target, below) for below in range(level + 1, last)]
    planes = [
        plane
        for store, image in zip(stores, images, strict=True)
        for plane in _checked_planes(store, image, add)
    ]
    with _appearing(target) as partial, _said_plainly(target, images[0]):
        if target.suffix.lower() in _FITS:
            for sentence in write_fits(images, partial, planes):
                listener(Warned(stores[0], sentence))
        elif target.suffix.lower() in _JPEG2000:
            write_jpeg2000(images[0], partial)
        else:
            write_tiff(images[0], partial, smaller)
        for store, state in zip(stores, before, strict=True):
            if state_of_run(store) != state:
                raise StoreError(
                    f"{store}: was changed while it was exported; give the command again"
                )
    if images[0].turned:
        turned = f"{target}: rows are in the opposite order: {FROM_BOTTOM_AND_TOP}"
        listener(Noted(stores[0], turned))
    return target


def _checked_level(store: Path, target: Path, level: int, strength: float = FULL) -> ExportedImage:
    """Open a level after all files that it is made from have been compared with their checksums."""
    check_undamaged(store, under=f"{level}/", thorough=True)
    image = open_level(store, level, strength)
    for name in ("residual", "filled") if image.removed is not None else ():
        check_undamaged(store, under=f"{name}/", thorough=True)
    return replace(image, turned=is_turned(image.attributes, target))


def _checked_planes(
    store: Path, image: ExportedImage, names: Sequence[PlaneName]
) -> tuple[Plane, ...]:
    """Open further arrays after their files have been compared with their checksums."""
    for name in names:
        check_undamaged(store, under=f"{name}/", thorough=True)
    return open_planes(store, image, names)


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
    that of its input. A FITS header keeps its rows in FITS, whatever it says of their order.
    """
    if target.suffix.lower() in _FITS:
        return "fits" not in attributes and not _TOP_DOWN.isdisjoint(attributes)
    return first_row_is_lowest(attributes)


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


def check_target(target: Path, *, several: bool = False) -> None:
    """Refuse a target that `export` could not write; `several` results go into a FITS file only.

    Raises
    ------
    UsageError
        As `export`.
    """
    suffix = target.suffix.lower()
    if suffix in (".gz", ".bz2", ".z"):
        raise UsageError(
            f"{target}: packed exports are not written; name it {target.with_suffix('')} "
            "and pack it afterwards"
        )
    known = (*_FITS, *_TIFF, *_JPEG2000)
    if suffix not in known:
        raise UsageError(f"{target}: exports are {', '.join(known)}; choose one of these")
    if several and suffix not in _FITS:
        raise UsageError(f"{target}: several results go into a FITS file only; name it .fits")
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


@contextmanager
def _said_plainly(target: Path, image: ExportedImage) -> Iterator[None]:
    """Turn what a library raises about the header or the tags of the source into one line.

    Raises
    ------
    StoreError
        If they cannot be carried over.
    """
    try:
        yield
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
            raise NoRoomError(
                f"{target}: the disk is full; free some space or choose another folder"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UsageError(f"{target}: cannot be written: {error.strerror}") from error
        raise
