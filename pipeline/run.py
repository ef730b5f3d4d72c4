"""Do what was planned, and resume it: restore, stitch, pyramid, record, export.

Kill the process at any moment and give the same command again: what the journals name is not done
again, and the result has the same bytes as that of an undisturbed run.
"""

from __future__ import annotations

import fcntl
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from glassplate.pipeline import provenance
from glassplate.pipeline.capacity import check_capacity
from glassplate.pipeline.errors import StoreError, UsageError
from glassplate.pipeline.events import (
    Listener,
    RunEnded,
    RunStarted,
    StageStarted,
    Warned,
    nobody,
)
from glassplate.pipeline.export import export
from glassplate.pipeline.forward import (
    check_exposures_are_wanted,
    check_guide_is_wanted,
    check_psf_is_wanted,
)
from glassplate.pipeline.hints import check_hints_are_wanted
from glassplate.pipeline.identity import RunIdentity, check_same, identify
from glassplate.pipeline.inherit import inherit
from glassplate.pipeline.journal import Journal, read_journal
from glassplate.pipeline.open_source import check_source, forget_unpacked, open_source
from glassplate.pipeline.plan import Plan
from glassplate.pipeline.planning import Device, make_plan
from glassplate.pipeline.pool import Pool
from glassplate.pipeline.psf import read_psf
from glassplate.pipeline.recipe import Recipe
from glassplate.pipeline.record import record_result, result_summary, summary_warnings
from glassplate.pipeline.scratch import Scratch
from glassplate.pipeline.source import SourceSpec
from glassplate.pipeline.stages import (
    Run,
    look_again,
    prepare_donor,
    pyramid,
    restore_tiles,
    shards_journal,
    stitch,
    tiles_journal,
)
from glassplate.pipeline.store import create, read_attributes, update_attributes


@dataclass(frozen=True)
class RestoreRequest:
    """One image to restore."""

    spec: SourceSpec
    store: Path
    recipe: Recipe
    recipe_name: str
    device: Device = "auto"
    export: Path | None = None
    """File to export to at the end, by suffix FITS or TIFF."""
    keep_scratch: bool = False
    donor: Path | None = None
    """Earlier result from whose donor the tiles start, fitted on to this image."""
    context: Mapping[str, str] = field(default_factory=dict)
    """Who asked: recorded with the session (a flow run's id, for example)."""


@dataclass(frozen=True)
class RunResult:
    """How a run ended."""

    store: Path
    status: Literal["complete", "partial"]
    tiles: int
    done: int
    quarantined: int
    already_complete: bool
    seconds: float
    summary: dict[str, Any]


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
    # the clearest refusals first, before hashing gigabytes
    check_psf_is_wanted(request.recipe, request.spec)
    check_guide_is_wanted(request.recipe, request.spec)
    check_exposures_are_wanted(request.recipe, request.spec)
    check_hints_are_wanted(request.recipe, request.spec)
    check_source(request.spec)
    if request.spec.psf is not None:
        read_psf(request.spec.psf)
    donor = None if request.donor is None else inherit(request.donor, request.store)
    taken = None if donor is None else donor.file
    identity = identify(request.spec, request.recipe, taken)
    try:
        manifest = _manifest_of(request, identity) if request.store.exists() else None
        if manifest is not None and manifest["status"] == "complete":
            return _already_complete(request, manifest, listener, start)
        plan = make_plan(
            request.spec,
            request.recipe,
            recipe_name=request.recipe_name,
            device=request.device,
            donor=donor,
            workers=pool.workers,
        )
        if manifest is not None:
            # what will be run is what has to fit
            plan = plan.as_recorded(manifest["plan"])
        check_capacity(plan, request.store, pool)
        if not request.store.exists():
            _create(request, plan, identity)
        with _locked(request.store):
            run = _begin(request, plan, pool, listener)
            return _finish(request, run, start)
    finally:
        forget_unpacked(request.spec)


def _manifest_of(request: RestoreRequest, identity: RunIdentity) -> dict[str, Any]:
    """Manifest of what is at the output path, if it is ours and of the same identity."""
    try:
        read_attributes(request.store)
    except StoreError as error:
        raise StoreError(f"{error}; it will not be overwritten, choose another -o") from error
    manifest = provenance.read_manifest(request.store)
    check_same(request.store, manifest, identity, request.recipe)
    return manifest


def _already_complete(
    request: RestoreRequest, manifest: dict[str, Any], listener: Listener, start: float
) -> RunResult:
    summary = dict(manifest["summary"])
    summary["exports"] = _export(request, listener)
    tiles = manifest["plan"]["tiles"]
    return RunResult(
        store=request.store,
        status="complete",
        tiles=tiles,
        done=tiles,
        quarantined=0,
        already_complete=True,
        seconds=time.monotonic() - start,
        summary=summary,
    )


def _create(request: RestoreRequest, plan: Plan, identity: RunIdentity) -> None:
    run_id = uuid.uuid4().hex
    source = open_source(request.spec)
    metadata, unit = source.metadata, source.unit
    source_format = source.format
    source.close()
    recipe = request.recipe.model_dump(mode="json")
    manifest = {
        "glassplate_manifest": 1,
        "run_id": run_id,
        "status": "running",
        "created": provenance.now(),
        "recipe_name": request.recipe_name,
        "recipe": recipe,
        "identity": identity.to_json(),
        "plan": plan.to_json(),
        "sessions": [],
        "summary": None,
    }
    attributes = {
        **metadata,
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
            "unit": unit,
            "flux_factor": plan.flux_factor,
            "source": {
                "path": identity.source.path,
                "format": source_format,
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

    def fill(making: Path) -> None:
        provenance.write_static(making, recipe)
        provenance.write_json(provenance.provenance_path(making, "manifest.json"), manifest)

    create(request.store, plan.layout, attributes, fill)


@contextmanager
def _locked(store: Path) -> Iterator[None]:
    """Keep a second run off the store; the lock goes with the process, however it ends."""
    with provenance.provenance_path(store, "run.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"{store}: another run is writing it; wait for it or choose another -o"
            ) from error
        yield


def _begin(request: RestoreRequest, plan: Plan, pool: Pool, listener: Listener) -> Run:
    manifest = provenance.read_manifest(request.store)
    # once more, now that the store is locked: another run may have begun it since the plan was made
    plan = plan.as_recorded(manifest["plan"])
    scratch = Scratch(request.store / ".scratch")
    records = {
        record["tile"]: record
        for record in read_journal(tiles_journal(request.store))
        if record["ok"] and scratch.window_is(record["tile"], record["crc32"])
    }
    manifest["status"] = "running"
    manifest["sessions"].append(
        {
            "started": provenance.now(),
            "ended": None,
            "pool": pool.name,
            "workers": pool.workers,
            "machine": provenance.machine(gpus=plan.numerics.device == "cuda"),
            "context": dict(request.context),
        }
    )
    provenance.write_json(provenance.provenance_path(request.store, "manifest.json"), manifest)
    listener(
        RunStarted(
            source=request.spec.path,
            store=request.store,
            tiles=len(plan.grid),
            done=len(records),
        )
    )
    for warning in plan.warnings:
        listener(Warned(request.store, warning))
    return Run(request.store, plan, pool, listener, manifest, records)


def _finish(request: RestoreRequest, run: Run, start: float) -> RunResult:
    """Go through the stages; each begins where the journals say."""
    prepare_donor(run)
    restore_tiles(run)
    look_again(run)
    with Journal(shards_journal(run.store)) as journal:
        files = stitch(run, journal)
        files |= pyramid(run, journal)
    run.listener(StageStarted(run.store, "record", 1))
    status: Literal["complete", "partial"] = "partial" if run.missing else "complete"
    summary = result_summary(run.store, run.plan, run.records, run.failures)
    for warning in summary_warnings(request.spec.path, summary):
        run.listener(Warned(run.store, warning))
    run.manifest["summary"] = summary
    run.manifest["status"] = status
    run.manifest["sessions"][-1]["ended"] = provenance.now()
    record_result(run.store, run.plan, run.records, run.manifest, files)
    update_attributes(run.store, status=status, summary=summary)
    # the manifest is written last: a run killed before this line goes on, after it is done
    provenance.write_json(provenance.provenance_path(run.store, "manifest.json"), run.manifest)
    if status == "complete" and not request.keep_scratch:
        shutil.rmtree(run.scratch_folder, ignore_errors=True)
    summary = {**summary, "exports": _export(request, run.listener)}
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


def _export(request: RestoreRequest, listener: Listener) -> list[str]:
    if request.export is None:
        return []
    listener(StageStarted(request.store, "export", 1))
    return [str(export(request.store, request.export))]
