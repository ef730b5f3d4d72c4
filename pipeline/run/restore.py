"""Do what was planned, and resume it: restore, stitch, pyramid, record, export.

Kill the process at any moment and give the same command again: what the journals name is not done
again, and the result has the same bytes as that of an undisturbed run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from glassplate.pipeline.errors import DiskFullError, SpoiledError, is_disk_full
from glassplate.pipeline.events import Listener, RunEnded, StageStarted, ignore_event
from glassplate.pipeline.export.export import write_export
from glassplate.pipeline.open_source import SourceFiles
from glassplate.pipeline.planning.make_plan import numerics_for
from glassplate.pipeline.planning.memory import check_capacity
from glassplate.pipeline.planning.plan_files import plan_files
from glassplate.pipeline.pools.pool import Pool
from glassplate.pipeline.provenance.checksums import check_undamaged
from glassplate.pipeline.provenance.identity import RunIdentity
from glassplate.pipeline.provenance.identity_check import check_same
from glassplate.pipeline.provenance.manifest import (
    Manifest,
    finished_manifest,
    read_manifest,
    write_manifest,
)
from glassplate.pipeline.run.donor_stage import prepare_donor
from glassplate.pipeline.run.finished import (
    Inputs,
    already_complete,
    check_finished,
    identify_inputs,
    wants_export,
)
from glassplate.pipeline.run.request import RestoreRequest, RunResult, check_request
from glassplate.pipeline.run.session import (
    begin_session,
    confirm_inputs,
    create_result,
    end_session,
)
from glassplate.pipeline.run.state import Run
from glassplate.pipeline.run.tile_stage import restore_tiles
from glassplate.pipeline.run.write_levels import write_levels
from glassplate.pipeline.sources.unpack import forget_unpacked
from glassplate.pipeline.store.lock import locked
from glassplate.pipeline.store.ome_zarr import clear_leftovers
from glassplate.pipeline.text import one_line

__all__ = ["RestoreRequest", "RunResult", "restore"]


def restore(request: RestoreRequest, pool: Pool, listener: Listener = ignore_event) -> RunResult:
    """Restore one image into a store, or resume an earlier run of the same request.

    Parameters
    ----------
    request
        Image, store and recipe.
    pool
        Does the work; the pixels of the result do not depend on it.
    listener
        Receives every event of the run.

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
    try:
        return _unless_done(request, pool, listener)
    except OSError as error:  # of any file of the result
        if not is_disk_full(error):
            raise
        raise DiskFullError(
            f"{request.store}: {one_line(error)}; free some disk and give the same command again"
        ) from error


def _unless_done(request: RestoreRequest, pool: Pool, listener: Listener) -> RunResult:
    """Restore an image whose result is not complete yet."""
    start = time.monotonic()
    with check_request(request) as opened:
        request = replace(request, spec=opened.spec)
        try:
            inputs = None
            finished = finished_manifest(request.store)
            if finished is not None:
                inputs = identify_inputs(request, opened)
                check_finished(request, finished, inputs.identity)
                if not wants_export(request, finished):
                    return already_complete(request, finished, start)
            with _locked(request):
                inputs = inputs or identify_inputs(request, opened)
                return _restore(request, opened, inputs, pool, listener, start)
        finally:
            forget_unpacked(request.spec)


@contextmanager
def _locked(request: RestoreRequest) -> Iterator[None]:
    """Keep other runs off everything that this one writes."""
    doing = f"recipe {request.recipe_name}"
    with ExitStack() as locks:
        locks.enter_context(locked(request.store, doing))
        if request.export is not None:
            name = f"export of {request.store}, {doing}"
            locks.enter_context(locked(request.export, name, other="name for the export"))
        yield


def _restore(
    request: RestoreRequest,
    opened: SourceFiles,
    inputs: Inputs,
    pool: Pool,
    listener: Listener,
    start: float,
) -> RunResult:
    """Go through the stages of a run, holding the locks."""
    manifest = _manifest_to_resume(request, inputs.identity)
    if manifest is not None and manifest.status == "complete":
        check_undamaged(request.store)
        _export(request, manifest, listener)
        return already_complete(request, manifest, start)

    run = _planned(request, opened, inputs, manifest, pool, listener)
    begin_session(run, request.spec.path, request.context)
    prepare_donor(run)
    restore_tiles(run)
    files = write_levels(run)
    confirm_inputs(run)
    summary = end_session(run, request.spec.path, files, keep_scratch=request.keep_scratch)
    _export(request, run.manifest, listener)
    seconds = time.monotonic() - start
    listener(RunEnded(run.store, run.status, seconds))
    return RunResult(
        store=run.store,
        status=run.status,
        tiles=len(run.plan.grid),
        done=len(run.records),
        quarantined=len(run.missing),
        already_complete=False,
        seconds=seconds,
        summary=summary,
        export=request.export,
        passing=any(failure.kind.passing for failure in run.failures.values()),
    )


def _planned(
    request: RestoreRequest,
    opened: SourceFiles,
    inputs: Inputs,
    manifest: Manifest | None,
    pool: Pool,
    listener: Listener,
) -> Run:
    """Plan the run, refuse what cannot fit, and make the empty result unless one is resumed."""
    plan = plan_files(
        opened,
        request.recipe,
        recipe_name=request.recipe_name,
        numerics=numerics_for(request.recipe, request.device),
        donor=inputs.donor,
        workers=pool.workers,
    )
    if manifest is not None:
        # the capacity is checked for the plan that is run
        plan = plan.as_recorded(manifest.plan)
    check_capacity(plan, request.store, pool)
    inputs.watch.check()
    clear_leftovers(request.store)
    if manifest is None:
        manifest = create_result(request, plan, inputs.identity, opened.source())
    opened.close()  # each worker opens its own
    return Run(request.store, plan, pool, listener, inputs.watch, manifest)


def _manifest_to_resume(request: RestoreRequest, identity: RunIdentity) -> Manifest | None:
    """Manifest of the result that is there; None where there is none.

    Raises
    ------
    ChangedError
        If the result is of another identity.
    SpoiledError
        If an input changed while it was made.
    """
    if not request.store.exists():
        return None
    manifest = read_manifest(request.store)
    any_version = request.any_version and manifest.status == "complete"
    check_same(request.store, manifest, identity, request.recipe, any_version=any_version)
    if manifest.status == "spoiled":
        raise SpoiledError(request.store)
    return manifest


def _export(request: RestoreRequest, manifest: Manifest, listener: Listener) -> None:
    """Write and record the export that is asked for, unless it is there as it was written."""
    if request.export is None or not wants_export(request, manifest):
        return
    listener(StageStarted(request.store, "export", 1))
    write_export([request.store], request.export, listener=listener)
    write_manifest(request.store, manifest.with_export(request.export))
