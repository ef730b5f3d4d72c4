"""One session of a run: begin it or resume it, and record how it ended."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from glassplate.models.noise.flat_noise import FlatNoise
from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.events import RunStarted, StageStarted, Warned
from glassplate.pipeline.failures import Failure
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.pools.pool import ignore_progress
from glassplate.pipeline.provenance.folder import provenance_digests, write_static
from glassplate.pipeline.provenance.identity import RunIdentity
from glassplate.pipeline.provenance.machine import this_machine
from glassplate.pipeline.provenance.manifest import Manifest, Session, Summary, now, write_manifest
from glassplate.pipeline.provenance.records import TileRecord, read_tile_records
from glassplate.pipeline.run.manifest import new_attributes, new_manifest
from glassplate.pipeline.run.request import RestoreRequest
from glassplate.pipeline.run.state import Run, error_of, refuse_damaged_source
from glassplate.pipeline.run.summary import (
    NoiseTask,
    measure_noise,
    record_result,
    result_summary,
    summary_warnings,
)
from glassplate.pipeline.sources.metadata.physical_size import pixel_size
from glassplate.pipeline.sources.source import Source, white_value
from glassplate.pipeline.store.display import omero_attributes
from glassplate.pipeline.store.ome_zarr import (
    create,
    read_attributes,
    set_display,
    update_attributes,
)
from glassplate.pipeline.tiles.scratch import Scratch


def create_result(
    request: RestoreRequest, plan: Plan, identity: RunIdentity, source: Source
) -> Manifest:
    """Make the empty result; return its manifest."""
    manifest = new_manifest(request, plan, identity)
    attributes = new_attributes(request, plan, identity, manifest.run_id, source)

    def fill(making: Path) -> None:
        write_static(making, manifest.recipe)
        write_manifest(making, manifest)

    pixel = pixel_size(source.metadata)
    if pixel is not None:
        pixel = pixel.divided(plan.layout.scale)
    create(request.store, plan.layout, attributes, pixel, fill)
    return manifest


def begin_session(run: Run, source: Path, context: Mapping[str, str]) -> None:
    """Find out which tiles are done, and record that a session begins.

    Parameters
    ----------
    source
        Path of the image.
    context
        Who asked; see `RestoreRequest`.
    """
    scratch = Scratch(run.scratch_folder)
    run.records |= {
        record.tile: record
        for record in read_tile_records(run.store, run.run_id)
        if isinstance(record, TileRecord) and scratch.window_is(record.tile, record.crc32)
    }
    run.pool.expect(_units_left(run))
    session = Session(
        started=now(),
        ended=None,
        pool=run.pool.name,
        workers=run.pool.workers,
        machine=this_machine(gpus=run.plan.numerics.device == "cuda"),
        context=dict(context),
    )
    run.manifest = run.manifest.with_session(session)
    write_manifest(run.store, run.manifest)
    run.listener(RunStarted(source, run.store, tiles=len(run.plan.grid), done=len(run.records)))
    for warning in run.plan.warnings:
        run.listener(Warned(run.store, warning))


def _units_left(run: Run) -> int:
    """Batches with a tile that is not restored yet; where none is left, the shards to be written."""
    batches = sum(any(tile not in run.records for tile in batch) for batch in run.plan.batches)
    return batches or len(run.plan.layout.shards())


def confirm_inputs(run: Run) -> None:
    """Check the inputs for the last time, before anything of the result is called complete.

    Raises
    ------
    SourceError
        If an input changed. Where its time stamps do not show when, no tile can be trusted, and the status
        of the result becomes ``spoiled``, so that the run is not resumed.
    """
    run.inputs.check()
    try:
        run.inputs.check_content()
    except SourceError:
        run.manifest = replace(run.manifest, status="spoiled")
        write_manifest(run.store, run.manifest)
        raise


def end_session(run: Run, source: Path, files: Mapping[str, str], *, keep_scratch: bool) -> Summary:
    """Record what was restored, and how; return the summary.

    Parameters
    ----------
    source
        Path of the image.
    files
        SHA-256 of each file of the arrays.
    keep_scratch
        Whether the restored windows of a complete result are kept.
    """
    run.listener(StageStarted(run.store, "record", 1))
    noise = _noise(run)
    summary = result_summary(run.store, run.plan, run.records, run.failures, noise)
    warnings = summary_warnings(
        source, summary, denoised=run.plan.recipe.traits.denoises, planned=run.plan.warnings
    )
    for warning in warnings:
        run.listener(Warned(run.store, warning))
    run.manifest = run.manifest.with_result(run.status, summary)
    record_result(run.store, run.plan, run.records, run.manifest, files)
    _set_display(run)
    update_attributes(run.store, status=run.status, summary=asdict(summary))
    run.manifest = replace(run.manifest, provenance=provenance_digests(run.store))
    # last, since it says that the run is complete: one that is killed before this resumes
    write_manifest(run.store, run.manifest)
    if run.status == "complete" and not keep_scratch:
        shutil.rmtree(run.scratch_folder, ignore_errors=True)
    return summary


def _noise(run: Run) -> FlatNoise | None:
    """Let a worker measure the noise, so that this process can turn to other images."""
    task = NoiseTask(run.store, run.plan)
    [(_, outcome)] = run.pool.map(measure_noise, [task], ignore_progress)
    if isinstance(outcome, Failure):
        refuse_damaged_source(outcome)
        raise error_of(outcome)(
            f"{run.store}: measuring its noise failed: {outcome.reason}; what is restored is kept, give the "
            "same command again"
        )
    noise: FlatNoise | None = outcome
    return noise


def _set_display(run: Run) -> None:
    """Tell viewers which range of values to show."""
    attributes, dtype = read_attributes(run.store), np.dtype(run.plan.layout.dtype)
    white = None if dtype.kind == "f" else white_value(dtype, attributes)
    set_display(run.store, omero_attributes(run.store, run.plan.layout, attributes, white))
