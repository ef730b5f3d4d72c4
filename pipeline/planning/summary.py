"""What `glassplate plan` says: tiles, memory, disk, time."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from glassplate.pipeline.planning.memory import project
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.planning.timing.duration import projected_seconds


def summarise(plan: Plan, *, workers: int) -> dict[str, Any]:
    """The document of `glassplate plan --json`; runs short trials to estimate the time."""
    capacity = project(plan, workers=workers)
    return {
        "source": str(plan.spec.path),
        "recipe": plan.recipe_name,
        "input_shape": list(plan.layout.source_shape[-plan.layout.ndim :]),
        "output_shape": list(plan.layout.stored_shape),
        "output_dtype": plan.layout.dtype,
        "tiles": len(plan.grid),
        "tile_grid": list(plan.grid.dimensions),
        "window_shape": list(plan.grid.window_shape),
        "batches": len(plan.batches),
        "workers": workers,
        "host_bytes": capacity.host_bytes,
        "device_bytes": capacity.device_bytes,
        "disk_bytes": capacity.disk_bytes,
        "seconds": projected_seconds(plan, workers),
        "noise": plan.noise.scaled(plan.findings.exponent).to_json(),
        "transform": plan.transform.scaled(plan.findings.exponent).to_json(),
        "numerics": asdict(plan.numerics),
        "warm": plan.warm,
        "donor": plan.donor and plan.donor.to_json(),
        "donor_iterations": plan.donor_iterations,
        "psf_shape": None if plan.psf is None else list(plan.psf.shape),
        "exposures": plan.exposures_to_json(),
        "warnings": list(plan.warnings),
        "stages": capacity.stages,
    }
