"""What a plan will take: tiles, memory, disk, time."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from glassplate.models.fit import seconds_per_iteration
from glassplate.pipeline.capacity import project
from glassplate.pipeline.plan import Plan
from glassplate.pipeline.sampling import WINDOW


def summarise(plan: Plan, *, workers: int) -> dict[str, Any]:
    """The document of `glassplate plan --json`; runs a short trial to estimate the time."""
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
        "noise": plan.noise.to_json(),
        "transform": plan.transform.to_json(),
        "numerics": asdict(plan.numerics),
        "warm": plan.warm,
        "donor": plan.donor and plan.donor.to_json(),
        "donor_iterations": plan.donor_iterations,
        "psf_shape": None if plan.psf is None else list(plan.psf.shape),
        "exposures": plan.spec.combination and plan.spec.combination.to_json(),
        "warnings": list(plan.warnings),
        "stages": capacity.stages,
    }


# Bytes per second at which one worker reads, blends, compresses and writes (benchmarks/pipeline.py).
COPY_BYTES_PER_S = 40e6


def projected_seconds(plan: Plan, workers: int) -> float:
    """Time to expect for a plan, by a short trial of one of its windows."""
    if plan.recipe.task == "identity":
        return image_seconds(plan, workers, step_s=0.0)
    step_s = seconds_per_iteration(plan.tile_problem, plan.grid.window_shape)
    return image_seconds(plan, workers, step_s)


def image_seconds(plan: Plan, workers: int, step_s: float) -> float:
    """Time to expect: the donor, every fit to its cap on iterations, and the copying around them.

    Parameters
    ----------
    plan
        What would be done.
    workers
        Fits that run at once.
    step_s
        Seconds that one iteration on one whole window takes.
    """
    fit = plan.tile_problem.fit
    rounds = -(-len(plan.batches) // workers)
    tiles = step_s * fit.iterations * fit.members * plan.batch_size * rounds
    _, height, width = plan.grid.window_shape
    donor = plan.donor_iterations * step_s * WINDOW**2 / (height * width)
    copying = plan.layout.uncompressed_bytes / COPY_BYTES_PER_S / workers
    return donor + tiles + copying
