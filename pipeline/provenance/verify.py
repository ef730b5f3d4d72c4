"""Checks that a result is complete, of one run and undamaged, and that its inputs are unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glassplate.pipeline.errors import StoreError
from glassplate.pipeline.files import sha256_of
from glassplate.pipeline.provenance.checksums import count_checksums, find_damage
from glassplate.pipeline.provenance.identity import COMPANIONS, FileIdentity
from glassplate.pipeline.provenance.manifest import ExportRecord, Manifest, read_manifest
from glassplate.pipeline.provenance.mixed_runs import foreign_parts
from glassplate.pipeline.provenance.records import TileRecord, read_tile_records
from glassplate.pipeline.store.ome_zarr import read_attributes


@dataclass(frozen=True)
class Check:
    """The outcome of one check."""

    name: str
    ok: bool
    detail: str


def verify(store: Path) -> list[Check]:
    """Check a result.

    Raises
    ------
    StoreError
        If the path holds no result of glassplate. Damage to a result is a failed check.
    """
    attributes = read_attributes(store)["glassplate"]
    status = attributes["status"]
    try:
        manifest = read_manifest(store)
    except StoreError as error:
        return [Check("manifest", False, str(error))]
    return [
        Check("manifest", True, f"run {manifest.run_id}"),
        Check("complete", status == manifest.status == "complete", f"status is {status}"),
        _one_run(store, manifest, attributes),
        _tiles(store, manifest),
        _checksums(store),
        *_exports(manifest),
        *_inputs(manifest),
    ]


def _tiles(store: Path, manifest: Manifest) -> Check:
    total = manifest.tiles
    try:
        records = read_tile_records(store, manifest.run_id)
    except StoreError as error:
        return Check("tiles", False, str(error))
    done = {record.tile for record in records if isinstance(record, TileRecord)}
    missing = sorted(set(range(total)) - done)
    detail = f"{len(done)} of {total} tiles done"
    if missing:
        detail += f"; first missing: tile {missing[0]}"
    return Check("tiles", not missing, detail)


def _one_run(store: Path, manifest: Manifest, attributes: dict[str, Any]) -> Check:
    """Check that one run wrote all parts of the result."""
    found = foreign_parts(store, manifest, attributes)
    detail = f"all parts are of run {manifest.run_id}"
    if found:
        detail = f"parts of other runs, or damaged: {'; '.join(found[:3])}"
    return Check("one run", not found, detail)


def _checksums(store: Path) -> Check:
    damage = find_damage(store, thorough=True)
    detail = damage or f"{count_checksums(store)} files as written"
    return Check("checksums", damage is None, detail)


def _exports(manifest: Manifest) -> Iterator[Check]:
    """Compare each export with its record."""
    for record in manifest.exports:
        changed = "has changed since, or is another result's"
        yield _compared("export", record, "as written", changed)


def _inputs(manifest: Manifest) -> Iterator[Check]:
    """Compare each input file with its identity in the manifest."""
    identity = manifest.identity
    files = [(role, identity.file(role)) for role in ("source", *COMPANIONS)]
    files += [("exposure", file) for file in identity.exposures]
    files += [("exposure mask", file) for file in identity.exposure_masks]
    for role, file in files:
        if file is not None:
            name = identity.noise_kind if role == "variance" else role
            yield _compared(name, file, "unchanged", "has changed since")


def _compared(name: str, recorded: FileIdentity | ExportRecord, same: str, different: str) -> Check:
    """Compare a file with its recorded content. The check passes if the file was moved away."""
    path = Path(recorded.path)
    if not path.is_file():
        return Check(name, True, f"{path} is not there any more: not compared")
    ok = sha256_of(path) == recorded.sha256
    return Check(name, ok, f"{path} {same if ok else different}")
