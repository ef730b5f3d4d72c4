"""The run manifest and the attributes of a new result, and what the manifest later records."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glassplate.pipeline.errors import StoreError
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.provenance.documents import now, read_manifest, write_manifest
from glassplate.pipeline.provenance.identity import RunIdentity, file_identity
from glassplate.pipeline.run.request import RestoreRequest
from glassplate.pipeline.sources.source import Source


def new_manifest(request: RestoreRequest, plan: Plan, identity: RunIdentity) -> dict[str, Any]:
    """Manifest of a run that begins."""
    return {
        "glassplate_manifest": 1,
        "run_id": uuid.uuid4().hex,
        "status": "running",
        "created": now(),
        "recipe_name": request.recipe_name,
        "recipe": request.recipe.model_dump(mode="json"),
        "identity": identity.to_json(),
        "plan": plan.to_json(),
        "sessions": [],
        "summary": None,
        "provenance": {},
        "exports": [],
    }


def new_attributes(
    request: RestoreRequest, plan: Plan, identity: RunIdentity, run_id: str, source: Source
) -> dict[str, Any]:
    """Attributes of the group of a new result: the source's own header or tags, and ``glassplate``."""
    return {
        **source.metadata,
        "glassplate": {
            "version": identity.versions["glassplate"],
            "run_id": run_id,
            "recipe": request.recipe_name,
            "recipe_sha256": identity.recipe_sha256,
            "status": "running",
            "scale": plan.layout.scale,
            "shape": list(plan.layout.stored_shape),
            "dtype": plan.layout.dtype,
            "ndim": plan.layout.ndim,
            "unit": source.unit,
            "flux_factor": plan.flux_factor,
            "source": {
                "path": identity.source.path,
                "format": source.format,
                "sha256": identity.source.sha256,
                "bytes": identity.source.bytes,
                "hdu": request.spec.hdu,
                "page": request.spec.page,
                "exposures": [
                    {"path": file.path, "sha256": file.sha256} for file in identity.exposures
                ],
            },
            "summary": None,
        },
    }


def finished_manifest(store: Path) -> dict[str, Any] | None:
    """Manifest of a complete result; None where there is none, or none that can be read yet."""
    try:
        manifest = read_manifest(store)
    except StoreError:
        return None
    return manifest if manifest["status"] == "complete" else None


def record_export(store: Path, manifest: dict[str, Any], target: Path) -> None:
    """Say in the manifest of a result, here and on disk, where it was exported to and what was written."""
    file = file_identity(target)
    record = {"path": file.path, "bytes": file.bytes, "sha256": file.sha256}
    others = [other for other in manifest.get("exports", ()) if other["path"] != file.path]
    manifest["exports"] = [*others, record]
    write_manifest(store, manifest)


def is_recorded(manifest: Mapping[str, Any], target: Path) -> bool:
    """Whether a file is an export as a run of this manifest wrote it, here or elsewhere."""
    records = [(record["bytes"], record["sha256"]) for record in manifest.get("exports", ())]
    if not target.is_file() or target.stat().st_size not in {size for size, _ in records}:
        return False
    return file_identity(target).sha256 in {digest for _, digest in records}
