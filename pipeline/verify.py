"""Check that a result is whole, undamaged, and still that of its input."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glassplate.pipeline import provenance
from glassplate.pipeline.errors import StoreError
from glassplate.pipeline.identity import COMPANIONS, file_identity
from glassplate.pipeline.journal import read_journal
from glassplate.pipeline.record import CHECKSUMS
from glassplate.pipeline.stitch import sha256_of
from glassplate.pipeline.store import read_attributes


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
    status = read_attributes(store)["glassplate"]["status"]
    try:
        manifest = provenance.read_manifest(store)
    except StoreError as error:
        return [Check("manifest", False, str(error))]
    return [
        Check("manifest", True, f"run {manifest['run_id']}"),
        Check("complete", status == manifest["status"] == "complete", f"status is {status}"),
        _tiles(store, manifest),
        _checksums(store),
        *_inputs(manifest),
    ]


def _tiles(store: Path, manifest: dict[str, Any]) -> Check:
    total = manifest["plan"]["tiles"]
    journal = read_journal(provenance.provenance_path(store, "tiles.jsonl"))
    done = {record["tile"] for record in journal if record["ok"]}
    missing = sorted(set(range(total)) - done)
    detail = f"{len(done)} of {total} tiles done"
    if missing:
        detail += f"; first missing: tile {missing[0]}"
    return Check("tiles", not missing, detail)


def _checksums(store: Path) -> Check:
    path = provenance.provenance_path(store, CHECKSUMS)
    if not path.is_file():
        return Check("checksums", False, f"{path.name} is missing: the run did not end")
    known = [line.split("  ", 1) for line in path.read_text("utf-8").splitlines()]
    gone = [name for _, name in known if not (store / name).is_file()]
    if gone:
        return Check("checksums", False, f"{len(gone)} file(s) missing, first {gone[0]}")
    damaged = [name for digest, name in known if sha256_of(store / name) != digest]
    if damaged:
        return Check("checksums", False, f"{len(damaged)} file(s) damaged, first {damaged[0]}")
    return Check("checksums", True, f"{len(known)} files as written")


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
