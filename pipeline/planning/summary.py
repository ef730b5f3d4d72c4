"""What `glassplate plan` says: tiles, memory, disk, time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from glassplate.models.device.numerics import Numerics
from glassplate.models.noise.description import NoiseDescription
from glassplate.models.noise.model import NoiseModel
from glassplate.models.pixel_transform import PixelTransform
from glassplate.pipeline.companions.exposures import Combination
from glassplate.pipeline.planning.memory import project
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.planning.timing.duration import TrialsByKey, projected_seconds
from glassplate.pipeline.provenance.recorded_plan import RecordedCompanion, RecordedDonor


@dataclass(frozen=True)
class PlanSummary:
    """What `glassplate plan --json` prints, in this order. Numbers are in the source's own units."""

    source: str
    part: str
    """The HDU that was named; empty if none was."""
    recipe: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    output_dtype: str
    tiles: int
    tile_grid: tuple[int, int, int]
    """Channel groups, rows and columns of tiles."""
    window_shape: tuple[int, int, int]
    batches: int
    workers: int
    host_bytes: int
    device_bytes: int
    disk_bytes: int
    seconds: float
    noise: NoiseModel
    noise_found: NoiseDescription | None
    """What the noise looks like; None where it was given or is not needed."""
    companions: tuple[RecordedCompanion, ...]
    """The mask and the noise that came with the image."""
    transform: PixelTransform
    numerics: Numerics
    warm: bool
    donor: RecordedDonor | None
    donor_iterations: int
    psf_shape: tuple[int, ...] | None
    exposures: Combination | None
    warnings: tuple[str, ...]
    stages: dict[str, int]
    """Bytes of host memory in each stage."""


@dataclass(frozen=True)
class RefusedImage:
    """One of several images that cannot be restored."""

    part: str
    """The HDU that was named."""
    reason: str


@dataclass(frozen=True)
class PlanTotals:
    """What `glassplate plan --json` prints for several images, which are restored one after the other."""

    images: tuple[PlanSummary, ...]
    refused: tuple[RefusedImage, ...]
    tiles: int
    batches: int
    host_bytes: int
    """The most that any of them takes."""
    device_bytes: int
    """The most that any of them takes."""
    disk_bytes: int
    seconds: float


def total(summaries: Sequence[PlanSummary], refused: Sequence[RefusedImage]) -> PlanTotals:
    """Add up the plans of several images, at least one."""
    return PlanTotals(
        images=tuple(summaries),
        refused=tuple(refused),
        tiles=sum(one.tiles for one in summaries),
        batches=sum(one.batches for one in summaries),
        host_bytes=max(one.host_bytes for one in summaries),
        device_bytes=max(one.device_bytes for one in summaries),
        disk_bytes=sum(one.disk_bytes for one in summaries),
        seconds=sum(one.seconds for one in summaries),
    )


def summarise(plan: Plan, *, workers: int, tried: TrialsByKey | None = None) -> PlanSummary:
    """Summarise a plan; runs short trials to estimate the time, unless `tried` has the same ones."""
    capacity, recorded = project(plan, workers=workers), plan.recorded()
    return PlanSummary(
        source=str(plan.spec.path),
        part="" if plan.spec.hdu is None else str(plan.spec.hdu),
        recipe=plan.recipe_name,
        input_shape=plan.layout.source_shape[-plan.layout.ndim :],
        output_shape=recorded.output_shape,
        output_dtype=recorded.output_dtype,
        tiles=recorded.tiles,
        tile_grid=recorded.grid.dimensions,
        window_shape=plan.grid.window_shape,
        batches=recorded.batches,
        workers=workers,
        host_bytes=capacity.host_bytes,
        device_bytes=capacity.device_bytes,
        disk_bytes=capacity.disk_bytes,
        seconds=projected_seconds(plan, workers, tried=tried),
        noise=recorded.noise,
        noise_found=recorded.noise_found,
        companions=recorded.companions,
        transform=recorded.transform,
        numerics=recorded.numerics,
        warm=recorded.warm,
        donor=recorded.donor,
        donor_iterations=recorded.donor_iterations,
        psf_shape=recorded.psf_shape,
        exposures=recorded.exposures,
        warnings=recorded.warnings,
        stages=capacity.stages,
    )
