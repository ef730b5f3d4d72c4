"""Do what was planned, and resume it: restore, stitch, pyramid, record, export.

Kill the process at any moment and give the same command again: what the journals name is not done
again, and the result has the same bytes as that of an undisturbed run.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from glassplate.pipeline.errors import SourceError, StoreError
from glassplate.pipeline.events import (
    Listener,
    RunEnded,
    RunStarted,
    StageStarted,
    Warned,
    nobody,
)
from glassplate.pipeline.export.export import write_export
from glassplate.pipeline.open_source import forget_unpacked
from glassplate.pipeline.planning.donor_reuse import Inherited, inherit
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.memory import check_capacity
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.pool import Pool
from glassplate.pipeline.provenance.damage import check_undamaged
from glassplate.pipeline.provenance.documents import (
    machine,
    now,
    provenance_digests,
    read_manifest,
    write_manifest,
    write_static,
)
from glassplate.pipeline.provenance.identity import RunIdentity, check_same, identify, input_paths
from glassplate.pipeline.provenance.input_watch import InputWatch, stamps_of
from glassplate.pipeline.provenance.journal import Journal, read_journal
from glassplate.pipeline.run.fit_stages import (
    Run,
    look_again,
    prepare_donor,
    restore_tiles,
    tiles_journal,
)
from glassplate.pipeline.run.manifest import (
    finished_manifest,
    is_recorded,
    new_attributes,
    new_manifest,
    record_export,
)
from glassplate.pipeline.run.request import RestoreRequest, RunResult, check_request
from glassplate.pipeline.run.summary import record_result, result_summary, summary_warnings
from glassplate.pipeline.run.write_stages import pyramid, shards_journal, stitch
from glassplate.pipeline.store.lock import locked
from glassplate.pipeline.store.ome_zarr import clear_leftovers, create, update_attributes
from glassplate.pipeline.tiles.scratch import Scratch

__all__ = ["RestoreRequest", "RunResult", "restore"]


def restore(request: RestoreRequest, pool: Pool, listener: Listener = nobody) -> RunResult:
    """Restore one image into a store, or go on where an earlier run of the same request ended.

    Parameters
    ----------
    request
        Image, store and recipe.
    pool
        Who does the work; the pixels of the result do not depend on it.
    listener
        Told of everything that happens.

    Returns
    -------
    RunResult
        ``partial`` where some tiles were quarantined; the rest is good.

    Raises
    ------
    SourceError, UsageError, CapacityError, StoreError
        Before anything is written, if the request cannot be granted.
    GlassplateError
        If every tile failed or the disk is full; what is done is kept.
    """
    start = time.monotonic()
    request = check_request(request)
    try:
        given = None
        finished = finished_manifest(request.store)
        if finished is not None:
            given = _look_at_inputs(request)
            check_same(request.store, finished, given.identity, request.recipe)
            check_undamaged(request.store)
            if not _wants_export(request, finished):
                return _already_complete(request, finished, start)
        with _locked(request):
            return _restore(request, given or _look_at_inputs(request), pool, listener, start)
    finally:
        forget_unpacked(request.spec)


@dataclass(frozen=True)
class _Given:
    """What a run is made from, as it was when it began."""

    identity: RunIdentity
    inputs: InputWatch
    donor: Inherited | None


def _look_at_inputs(request: RestoreRequest) -> _Given:
    donor = None if request.donor is None else inherit(request.donor, request.store)
    # before they are hashed, so that a change meanwhile shows
    stamps = stamps_of(input_paths(request.spec))
    identity = identify(request.spec, request.recipe, None if donor is None else donor.file)
    return _Given(identity, InputWatch(stamps, identity), donor)


@contextmanager
def _locked(request: RestoreRequest) -> Iterator[None]:
    """Keep other runs off all that this one writes, from before it is made until the end."""
    doing = f"recipe {request.recipe_name}"
    with ExitStack() as locks:
        locks.enter_context(locked(request.store, doing))
        if request.export is not None:
            name = f"export of {request.store}, {doing}"
            locks.enter_context(locked(request.export, name, other="name for the export"))
        yield


def _restore(
    request: RestoreRequest, given: _Given, pool: Pool, listener: Listener, start: float
) -> RunResult:
    """Do what `restore` does, for the holder of the locks."""
    manifest = _manifest_of(request, given.identity) if request.store.exists() else None
    if manifest is not None and manifest["status"] == "complete":
        check_undamaged(request.store)
        _export(request, manifest, listener)
        return _already_complete(request, manifest, start)
    plan = make_plan(
        request.spec,
        request.recipe,
        recipe_name=request.recipe_name,
        device=request.device,
        donor=given.donor,
        workers=pool.workers,
    )
    if manifest is not None:
        # what will be run is what has to fit
        plan = plan.as_recorded(manifest["plan"])
    check_capacity(plan, request.store, pool)
    given.inputs.check()
    clear_leftovers(request.store)
    if manifest is None:
        manifest = _create(request, plan, given.identity)
    run = Run(request.store, plan, pool, listener, given.inputs, manifest)
    _begin(request, run)
    return _finish(request, run, start)


def _manifest_of(request: RestoreRequest, identity: RunIdentity) -> dict[str, Any]:
    """Manifest of the result that is there, if it is of the same identity and can be gone on with."""
    manifest = read_manifest(request.store)
    check_same(request.store, manifest, identity, request.recipe)
    if manifest["status"] == "spoiled":
        raise StoreError(
            f"{request.store}: an input changed while it was made; remove it and give the same command again"
        )
    return manifest


def _already_complete(
    request: RestoreRequest, manifest: Mapping[str, Any], start: float
) -> RunResult:
    exports = [] if request.export is None else [str(request.export)]
    tiles = manifest["plan"]["tiles"]
    return RunResult(
        store=request.store,
        status="complete",
        tiles=tiles,
        done=tiles,
        quarantined=0,
        already_complete=True,
        seconds=time.monotonic() - start,
        summary={**manifest["summary"], "exports": exports},
    )


def _create(request: RestoreRequest, plan: Plan, identity: RunIdentity) -> dict[str, Any]:
    """Make the empty result; return its manifest."""
    manifest = new_manifest(request, plan, identity)
    attributes = new_attributes(request, plan, identity, manifest["run_id"])

    def fill(making: Path) -> None:
        write_static(making, manifest["recipe"])
        write_manifest(making, manifest)

    create(request.store, plan.layout, attributes, fill)
    return manifest


def _begin(request: RestoreRequest, run: Run) -> None:
    """Find out what is done already, and record that a session begins."""
    scratch = Scratch(run.scratch_folder)
    run.records |= {
        record["tile"]: record
        for record in read_journal(tiles_journal(run.store), run.run_id)
        if record["ok"] and scratch.window_is(record["tile"], record["crc32"])
    }
    run.pool.expect(_units_left(run.plan, run.records))
    # what was recorded and exported of a partial result holds no more
    run.manifest |= {"status": "running", "provenance": {}, "exports": []}
    run.manifest["sessions"].append(
        {
            "started": now(),
            "ended": None,
            "pool": run.pool.name,
            "workers": run.pool.workers,
            "machine": machine(gpus=run.plan.numerics.device == "cuda"),
            "context": dict(request.context),
        }
    )
    write_manifest(run.store, run.manifest)
    run.listener(
        RunStarted(
            source=request.spec.path,
            store=run.store,
            tiles=len(run.plan.grid),
            done=len(run.records),
        )
    )
    for warning in run.plan.warnings:
        run.listener(Warned(run.store, warning))


def _units_left(plan: Plan, records: Mapping[int, Any]) -> int:
    """Batches with a tile that is not restored yet; where none is left, the shards to be written."""
    batches = sum(any(tile not in records for tile in batch) for batch in plan.batches)
    return batches or len(plan.layout.shards())


def _finish(request: RestoreRequest, run: Run, start: float) -> RunResult:
    """Go through the stages; each begins where the journals say."""
    prepare_donor(run)
    restore_tiles(run)
    look_again(run)
    with Journal(shards_journal(run.store), run.run_id) as journal:
        files = stitch(run, journal)
        files |= pyramid(run, journal)
    _confirm_inputs(run)
    run.listener(StageStarted(run.store, "record", 1))
    status: Literal["complete", "partial"] = "partial" if run.missing else "complete"
    summary = result_summary(run.store, run.plan, run.records, run.failures)
    for warning in summary_warnings(request.spec.path, summary):
        run.listener(Warned(run.store, warning))
    run.manifest["summary"] = summary
    run.manifest["status"] = status
    run.manifest["sessions"][-1]["ended"] = now()
    record_result(run.store, run.plan, run.records, run.manifest, files)
    update_attributes(run.store, status=status, summary=summary)
    run.manifest["provenance"] = provenance_digests(run.store)
    # the manifest is written last: a run killed before this line goes on, after it is done
    write_manifest(run.store, run.manifest)
    if status == "complete" and not request.keep_scratch:
        shutil.rmtree(run.scratch_folder, ignore_errors=True)
    _export(request, run.manifest, run.listener)
    summary = {**summary, "exports": [str(path) for path in (request.export,) if path is not None]}
    seconds = time.monotonic() - start
    run.listener(RunEnded(run.store, status, seconds))
    return RunResult(
        store=run.store,
        status=status,
        tiles=len(run.plan.grid),
        done=len(run.records),
        quarantined=len(run.missing),
        already_complete=False,
        seconds=seconds,
        summary=summary,
    )


def _confirm_inputs(run: Run) -> None:
    """Look at the inputs for the last time, before anything of the result is called complete."""
    run.inputs.check()
    try:
        run.inputs.check_content()
    except SourceError:
        # nobody knows since when, so that no tile can be trusted: the run must not be gone on with
        run.manifest["status"] = "spoiled"
        write_manifest(run.store, run.manifest)
        raise


def _wants_export(request: RestoreRequest, manifest: Mapping[str, Any]) -> bool:
    """Whether an export is asked for that is not there as it was written."""
    return request.export is not None and not is_recorded(manifest, request.export)


def _export(request: RestoreRequest, manifest: dict[str, Any], listener: Listener) -> None:
    """Export where that is asked for, unless it is there as it was written; record what was written."""
    if request.export is None or not _wants_export(request, manifest):
        return
    listener(StageStarted(request.store, "export", 1))
    write_export(request.store, request.export)
    record_export(request.store, manifest, request.export)
