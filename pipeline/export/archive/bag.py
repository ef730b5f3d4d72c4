"""A result as a bag for an archive (BagIt 1.0, RFC 8493): image, residual, PREMIS event and provenance.

The `bagit` package is not used to write it: it changes the current folder of the process and moves files
within a folder that is already there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from glassplate.pipeline.errors import CapacityError, UsageError, is_disk_full
from glassplate.pipeline.export.archive.premis import PremisFile, premis_document
from glassplate.pipeline.export.export import is_turned, state_of_run, write_export
from glassplate.pipeline.export.fits.write import write_fits
from glassplate.pipeline.export.level import ExportedImage, open_level
from glassplate.pipeline.export.tiff.write import write_tiff
from glassplate.pipeline.files import sha256_of
from glassplate.pipeline.provenance.checksums import check_undamaged
from glassplate.pipeline.provenance.folder import FOLDER
from glassplate.pipeline.provenance.manifest import Manifest, read_manifest
from glassplate.pipeline.store.lock import locked

_DECLARATION = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
_PAYLOAD = "data"
# Characters that a manifest cannot hold in a file name; the percent sign introduces their codes.
_ENCODED = str.maketrans({"%": "%25", "\n": "%0A", "\r": "%0D"})


def export_bag(store: Path, folder: Path, *, pyramid: bool = False) -> Path:
    """Write a result as a bag.

    The payload is the restored image as FITS or TIFF, what was removed from it (`residual`), a PREMIS
    document, and the provenance of the run. For integer images on the input's grid, the original is the
    restored image plus the residual, exactly.

    Parameters
    ----------
    store
        A result whose run has ended.
    folder
        The bag, which must not exist. It appears whole or not at all.
    pyramid
        Whether the image is a pyramidal TIFF.

    Raises
    ------
    UsageError
        If the folder exists, or cannot be made.
    StoreError
        If there is no result, its run has not ended, or it is damaged.
    CapacityError
        If the disk is full.
    """
    if not folder.parent.is_dir():
        raise UsageError(f"{folder}: there is no folder {folder.parent}")
    if folder.exists():
        raise UsageError(f"{folder}: exists; a bag is a new folder, choose another name")
    with locked(folder, f"bag of {store}", other="folder"):
        state_of_run(store)
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            _fill(store, partial, pyramid)
            os.replace(partial, folder)
        except OSError as error:
            if is_disk_full(error):
                raise CapacityError(
                    f"{folder}: the disk is full; free some space or choose another folder"
                ) from error
            raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def _fill(store: Path, bag: Path, pyramid: bool) -> None:
    payload = bag / _PAYLOAD
    payload.mkdir(parents=True)
    image = open_level(store, 0)
    suffix = ".fits" if "fits" in image.attributes else ".tif"
    stem = Path(image.origin).stem or store.stem
    restored = write_export(store, payload / f"{stem}-restored{suffix}", pyramid=pyramid)
    outcomes = [restored]
    residual = _residual(store, replace(image, turned=is_turned(image.attributes, restored)))
    if residual is not None:
        check_undamaged(store, under="residual/", thorough=True)
        outcomes.append(payload / f"{stem}-residual{suffix}")
        if suffix == ".fits":
            write_fits([residual], outcomes[1])
        else:
            write_tiff(residual, outcomes[1])
    shutil.copytree(store / FOLDER, payload / FOLDER)
    manifest = read_manifest(store)
    _write_premis(manifest, payload, outcomes, _note(image, residual))
    _write_tag_files(bag, manifest)


def _residual(store: Path, image: ExportedImage) -> ExportedImage | None:
    """What was removed, as an image; None where it is on another grid or of a simulated measurement."""
    found = zarr.open_group(store, mode="r").get("residual")
    layout = read_manifest(store).plan.layout
    if found is None or layout.mixes or found.shape != image.array.shape:
        return None
    inverted = bool(image.attributes.get("tiff", {}).get("min_is_white"))
    array: Any = _Negative(found) if inverted else found
    return replace(image, array=array, task=None)


class _Negative:
    """An array with the opposite sign: a file in which white is 0 counts the other way round."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape, self.dtype, self.chunks = array.shape, array.dtype, array.chunks

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        return -np.asarray(self._array[index])


def _note(image: ExportedImage, residual: ExportedImage | None) -> str:
    if residual is None:
        return "The restored image cannot be turned back into the original, which must be kept."
    if image.dtype.kind in "iu":
        how = "exactly"
    else:
        how = "within the rounding of floats; it is NaN where the original has no valid pixel"
    text = f"The pixels of the original are those of the restored image plus those of the residual, {how}."
    found = image.attributes.get("tiff") or image.attributes.get("raster") or {}
    return f"{text} Of the original, {found['note']}." if found.get("note") else text


def _write_premis(manifest: Manifest, payload: Path, outcomes: list[Path], note: str) -> None:
    inputs = [
        PremisFile(Path(file.path).name, file.bytes, file.sha256)
        for file in manifest.identity.input_files()
    ]
    made = [
        PremisFile(f"{_PAYLOAD}/{path.name}", path.stat().st_size, sha256_of(path))
        for path in outcomes
    ]
    (payload / "premis.xml").write_bytes(premis_document(manifest, inputs, made, note))


def _write_tag_files(bag: Path, manifest: Manifest) -> None:
    """Write all that makes the folder a bag."""
    payload = _files(bag, lambda name: name.startswith(f"{_PAYLOAD}/"))
    total = sum(path.stat().st_size for path in payload.values())
    version = manifest.identity.versions.get("glassplate", "")
    info = {
        "Bag-Software-Agent": f"glassplate {version}".strip(),
        "Bagging-Date": datetime.now(UTC).date().isoformat(),
        "External-Identifier": manifest.run_id,
        "External-Description": f"Digital restoration of {Path(manifest.identity.source.path).name}",
        "Payload-Oxum": f"{total}.{len(payload)}",
    }
    # a line must not contain what ends it
    lines = [f"{key}: {' '.join(value.split())}\n" for key, value in info.items()]
    _write_text(bag / "bagit.txt", _DECLARATION)
    _write_text(bag / "bag-info.txt", "".join(lines))
    _write_text(bag / "manifest-sha256.txt", _digests(payload))
    tags = _files(bag, lambda name: "/" not in name)
    _write_text(bag / "tagmanifest-sha256.txt", _digests(tags))


def _files(bag: Path, wanted: Callable[[str], bool]) -> dict[str, Path]:
    """Files of a bag by their names in it."""
    named = {path.relative_to(bag).as_posix(): path for path in bag.rglob("*") if path.is_file()}
    return {name: named[name] for name in sorted(named) if wanted(name)}


def _digests(files: Mapping[str, Path]) -> str:
    lines = [f"{sha256_of(path)}  {name.translate(_ENCODED)}\n" for name, path in files.items()]
    return "".join(lines)


def _write_text(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
