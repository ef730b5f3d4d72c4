"""The manifest and the attributes of a new result."""

from __future__ import annotations

import uuid
from typing import Any

from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.provenance.identity import RunIdentity
from glassplate.pipeline.provenance.manifest import Manifest, now
from glassplate.pipeline.run.request import RestoreRequest
from glassplate.pipeline.sources.source import Source


def new_manifest(request: RestoreRequest, plan: Plan, identity: RunIdentity) -> Manifest:
    """Make the manifest of a run that has no session yet."""
    return Manifest(
        run_id=uuid.uuid4().hex,
        status="running",
        created=now(),
        recipe_name=request.recipe_name,
        recipe=request.recipe.model_dump(mode="json"),
        identity=identity,
        plan=plan.recorded(),
    )


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
