"""The description of a result that `glassplate inspect` prints."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from glassplate.pipeline.provenance.manifest import read_manifest
from glassplate.pipeline.provenance.records import TileRecord, read_tile_records
from glassplate.pipeline.store.ome_zarr import read_attributes


def is_result(path: Path) -> bool:
    """Whether a path is a Zarr group and not an image file."""
    return path.is_dir() and (path / "zarr.json").is_file()


def inspect_result(store: Path) -> dict[str, Any]:
    """Describe a result.

    Returns
    -------
    description
        JSON-able. `tiles` counts the tiles that are done and quarantined so far, also during a run.

    Raises
    ------
    StoreError
        If the path holds no result of glassplate.
    """
    attributes = read_attributes(store)
    own, manifest = attributes["glassplate"], read_manifest(store)
    records = read_tile_records(store)
    done = {record.tile for record in records if isinstance(record, TileRecord)}
    quarantined = {record.tile for record in records} - done
    return {
        "kind": "result",
        "status": own["status"],
        "shape": own["shape"],
        "dtype": own["dtype"],
        "unit": own["unit"],
        "scale": own["scale"],
        "levels": len(attributes["ome"]["multiscales"][0]["datasets"]),
        "recipe": own["recipe"],
        "recipe_sha256": own["recipe_sha256"],
        "run_id": own["run_id"],
        "version": own["version"],
        "source": own["source"],
        "tiles": {
            "total": manifest.tiles,
            "done": len(done),
            "quarantined": len(quarantined),
        },
        "noise": asdict(manifest.plan.noise),
        "companions": [asdict(companion) for companion in manifest.plan.companions],
        "donor": manifest.plan.donor and asdict(manifest.plan.donor),
        "summary": own["summary"],
        "sessions": [asdict(session) for session in manifest.sessions],
    }
