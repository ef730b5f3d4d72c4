"""Check that a result is whole, of one run, undamaged, and still that of its input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glassplate.pipeline.errors import StoreError
from glassplate.pipeline.provenance.damage import count_checksums, find_damage
from glassplate.pipeline.provenance.documents import read_manifest
from glassplate.pipeline.provenance.identity import COMPANIONS, file_identity
from glassplate.pipeline.provenance.one_run import disagreements
from glassplate.pipeline.provenance.records import TileRecord, read_tile_records
from glassplate.pipeline.store.ome_zarr import read_attributes


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str


def verify(store: Path) -> list[Check]:
    """Check a result.

    Raises
    ------
    StoreError
        If there is no result of glassplate at the path; damage inside one is a failed check.
    """
    attributes = read_attributes(store)["glassplate"]
    status = attributes["status"]
    try:
        manifest = read_manifest(store)
    except StoreError as error:
        return [Check("manifest", False, str(error))]
    return [
        Check("manifest", True, f"run {manifest['run_id']}"),
        Check("complete", status == manifest["status"] == "complete", f"status is {status}"),
        _one_run(store, manifest, attributes),
        _tiles(store, manifest),
        _checksums(store),
        *_exports(manifest),
        *_inputs(manifest),
    ]


def _tiles(store: Path, manifest: dict[str, Any]) -> Check:
    total = manifest["plan"]["tiles"]
    try:
        records = read_tile_records(store, manifest["run_id"])
    except StoreError as error:
        return Check("tiles", False, str(error))
    done = {record.tile for record in records if isinstance(record, TileRecord)}
    missing = sorted(set(range(total)) - done)
    detail = f"{len(done)} of {total} tiles done"
    if missing:
        detail += f"; first missing: tile {missing[0]}"
    return Check("tiles", not missing, detail)


def _one_run(store: Path, manifest: dict[str, Any], attributes: dict[str, Any]) -> Check:
    """Whether all that the result says of itself was said by the run of its manifest."""
    found = disagreements(store, manifest, attributes)
    detail = f"all parts are of run {manifest['run_id']}"
    if found:
        detail = f"parts of other runs, or damaged: {'; '.join(found[:3])}"
    return Check("one run", not found, detail)


def _checksums(store: Path) -> Check:
    damage = find_damage(store, thorough=True)
    detail = damage or f"{count_checksums(store)} files as written"
    return Check("checksums", damage is None, detail)


def _exports(manifest: dict[str, Any]) -> Iterator[Check]:
    """Compare the exports with what was written; one that was moved away cannot be compared."""
    for record in manifest.get("exports", ()):
        path = Path(record["path"])
        if not path.is_file():
            yield Check("export", True, f"{path} is not there any more: not compared")
            continue
        same = file_identity(path).sha256 == record["sha256"]
        detail = "as written" if same else "has changed since, or is another result's"
        yield Check("export", same, f"{path} {detail}")


def _inputs(manifest: dict[str, Any]) -> list[Check]:
    """Compare the input files with what was restored; one that was moved away cannot be compared."""
    checks = []
    identity = manifest["identity"]
    names = {"variance": identity.get("noise_kind", "variance")}
    files = [(names.get(what, what), identity.get(what)) for what in ("source", *COMPANIONS)]
    files += [("exposure", file) for file in identity.get("exposures") or ()]
    for what, was in files:
        if was is None:
            continue
        path = Path(was["path"])
        if not path.is_file():
            checks.append(Check(what, True, f"{path} is not there any more: not compared"))
            continue
        same = file_identity(path).sha256 == was["sha256"]
        checks.append(Check(what, same, f"{path} {'unchanged' if same else 'has changed since'}"))
    return checks
