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
from glassplate.pipeline.capacity import check_capacity, project
from glassplate.pipeline.errors import GlassplateError, StoreError, UsageError
from glassplate.pipeline.events import (
    FitProgress,
    Listener,
    RunEnded,
    RunStarted,
    StageAdvanced,
    StageStarted,
    TileDone,
    Warned,
    nobody,
)
from glassplate.pipeline.export import export
from glassplate.pipeline.identity import RunIdentity, check_same, identify
from glassplate.pipeline.journal import Journal, read_journal
from glassplate.pipeline.open_source import forget_unpacked, open_source
from glassplate.pipeline.plan import Plan, make_plan
from glassplate.pipeline.pool import Failure, Pool
from glassplate.pipeline.recipe import Recipe
from glassplate.pipeline.record import record_result, result_summary
from glassplate.pipeline.restoring import BatchTask, is_disk_full, restore_batch
from glassplate.pipeline.scratch import Scratch
from glassplate.pipeline.source import SourceSpec
from glassplate.pipeline.stitch import LevelTask, StitchTask, stitch_shard, write_level
from glassplate.pipeline.store import create, read_attributes, update_attributes

# Tries at a tile, each with its own seed, before it is quarantined.
ATTEMPTS = 2


@dataclass(frozen=True)
class RestoreRequest:
    """One image to restore."""

    spec: SourceSpec
    store: Path
    recipe: Recipe
    recipe_name: str
    device: str = "auto"
    export: Path | None = None
    """File to export to at the end, by suffix FITS or TIFF."""
    keep_scratch: bool = False
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


@dataclass
class _Run:
    """A run under way."""

    request: RestoreRequest
    plan: Plan
    pool: Pool
    listener: Listener
    manifest: dict[str, Any]
    records: dict[int, dict[str, Any]]
    """Last good record of each tile that is done."""
    failures: dict[int, str] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        return self.request.store

    @property
    def scratch_folder(self) -> Path:
        return self.store / ".scratch"

    @property
    def missing(self) -> list[int]:
        """Tiles that are not done, in order."""
        return [tile for tile in range(len(self.plan.grid)) if tile not in self.records]


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
    open_source(request.spec).close()  # the clearest refusal first, before hashing gigabytes
    identity = identify(request.spec, request.recipe)
    try:
        if request.store.exists():
            manifest = _manifest_of(request, identity)
            if manifest["status"] == "complete":
                return _already_complete(request, manifest, listener, start)
        plan = make_plan(
            request.spec, request.recipe, recipe_name=request.recipe_name, device=request.device
        )
        capacity = project(plan, workers=pool.workers)
        check_capacity(capacity, plan, request.store, workers=pool.workers)
        if not request.store.exists():
            _create(request, plan, identity)
        with _locked(request.store):
            run = _begin(request, plan, pool, listener)
            return _finish(run, start)
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


def _begin(request: RestoreRequest, plan: Plan, pool: Pool, listener: Listener) -> _Run:
    manifest = provenance.read_manifest(request.store)
    plan = plan.as_recorded(manifest["plan"])
    scratch = Scratch(request.store / ".scratch")
    records = {
        record["tile"]: record
        for record in read_journal(_tiles_journal(request.store))
        if record["ok"] and scratch.window_is(record["tile"], record["crc32"])
    }
    manifest["status"] = "running"
    manifest["sessions"].append(
        {
            "started": provenance.now(),
            "ended": None,
            "pool": pool.name,
            "workers": pool.workers,
            "machine": provenance.machine(),
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
    return _Run(request, plan, pool, listener, manifest, records)


def _tiles_journal(store: Path) -> Path:
    return provenance.provenance_path(store, "tiles.jsonl")


def _shards_journal(store: Path) -> Path:
    return provenance.provenance_path(store, "shards.jsonl")


def _finish(run: _Run, start: float) -> RunResult:
    """Go through the stages; each begins where the journals say."""
    _restore_tiles(run)
    with Journal(_shards_journal(run.store)) as journal:
        files = _stitch(run, journal)
        files |= _pyramid(run, journal)
    run.listener(StageStarted(run.store, "record", 1))
    status: Literal["complete", "partial"] = "partial" if run.missing else "complete"
    summary = result_summary(run.store, run.plan, run.records, run.failures)
    run.manifest["summary"] = summary
    run.manifest["status"] = status
    run.manifest["sessions"][-1]["ended"] = provenance.now()
    record_result(run.store, run.plan, run.records, run.manifest, files)
    update_attributes(run.store, status=status, summary=summary)
    # the manifest is written last: a run killed before this line goes on, after it is done
    provenance.write_json(provenance.provenance_path(run.store, "manifest.json"), run.manifest)
    if status == "complete" and not run.request.keep_scratch:
        shutil.rmtree(run.scratch_folder, ignore_errors=True)
    summary = {**summary, "exports": _export(run.request, run.listener)}
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


def _restore_tiles(run: _Run) -> None:
    """Phase 1: every tile that is not done, in batches; a tile that fails is tried again."""
    total = len(run.plan.grid)
    run.listener(StageStarted(run.store, "restore", total))

    def tell(message: Mapping[str, Any]) -> None:
        run.listener(FitProgress(run.store, **message))

    with Journal(_tiles_journal(run.store)) as journal:
        for attempt in range(ATTEMPTS):
            tasks = _batch_tasks(run, attempt)
            for task, outcome in run.pool.map(restore_batch, tasks, tell):
                _take_in(run, journal, task, outcome)
    if not run.records:
        reasons = sorted(set(run.failures.values()))
        raise GlassplateError(f"{run.request.spec.path}: all {total} tiles failed: {reasons[0]}")
    for tile in run.missing:
        run.listener(Warned(run.store, f"tile {tile} is quarantined: {run.failures[tile]}"))


def _batch_tasks(run: _Run, attempt: int) -> list[BatchTask]:
    """Tiles still to be done: as the plan cut them; after a failure, one by one."""
    if attempt == 0:
        waiting = [
            tuple(tile for tile in batch if tile not in run.records) for batch in run.plan.batches
        ]
        return [BatchTask(run.plan, run.scratch_folder, tiles) for tiles in waiting if tiles]
    return [
        BatchTask(
            run.plan,
            run.scratch_folder,
            (tile,),
            attempt,
            reseed=attempt if run.failures[tile].startswith("FloatingPointError") else 0,
        )
        for tile in run.missing
    ]


def _take_in(run: _Run, journal: Journal, task: BatchTask, outcome: Any) -> None:
    if isinstance(outcome, Failure):
        if is_disk_full(outcome.reason):
            raise GlassplateError(
                f"{run.store}: {outcome.reason}; free some disk and give the same command again, "
                f"{len(run.records)} of {len(run.plan.grid)} tiles are done"
            )
        for tile in task.tiles:
            run.failures[tile] = outcome.reason
            journal.append(
                {"tile": tile, "attempt": task.attempt, "ok": False, "error": outcome.reason}
            )
            run.listener(TileDone(run.store, tile, False, 0, outcome.reason, 0.0))
        return
    for record in outcome:
        journal.append(record)
        run.records[record["tile"]] = record
        run.failures.pop(record["tile"], None)
        run.listener(
            TileDone(
                store=run.store,
                tile=record["tile"],
                ok=True,
                iterations=record["iterations"],
                stop_reason=record["stop_reason"],
                seconds=record["seconds"],
            )
        )


def _stitch(run: _Run, journal: Journal) -> dict[str, str]:
    """Phase 2: every shard of level 0; return the SHA-256 of each file."""
    missing = run.missing
    tasks = [
        StitchTask(run.plan, run.store, run.scratch_folder, shard, frozenset(missing))
        for shard in run.plan.layout.shards()
    ]
    return _shards(run, journal, "stitch", 0, tasks, stitch_shard)


def _pyramid(run: _Run, journal: Journal) -> dict[str, str]:
    """Every coarser level from the one below it; return the SHA-256 of each file."""
    files: dict[str, str] = {}
    for level in range(1, run.plan.layout.levels):
        tasks = [
            LevelTask(run.plan, run.store, level, shard) for shard in run.plan.layout.shards(level)
        ]
        files |= _shards(run, journal, "pyramid", level, tasks, write_level)
    return files


def _shards(
    run: _Run,
    journal: Journal,
    stage: Literal["stitch", "pyramid"],
    level: int,
    tasks: Any,
    work: Any,
) -> dict[str, str]:
    """Do those tasks of a stage that the journal does not name as done with the same tiles."""
    missing = run.missing
    done = {
        record["shard"]: record["files"]
        for record in read_journal(journal.path)
        if record["level"] == level and record["missing"] == missing
    }
    run.listener(StageStarted(run.store, stage, len(tasks)))
    files = {path: digest for of_shard in done.values() for path, digest in of_shard.items()}
    waiting = [task for task in tasks if task.shard.index not in done]
    for count, (task, outcome) in enumerate(run.pool.map(work, waiting, lambda _: None)):
        if isinstance(outcome, Failure):
            raise GlassplateError(
                f"{run.store}: writing shard {task.shard.index} of level {level} failed: "
                f"{outcome.reason}; what is restored is kept, give the same command again"
            )
        journal.append(
            {
                "level": level,
                "shard": task.shard.index,
                "missing": missing,
                "files": outcome["files"],
            }
        )
        files |= outcome["files"]
        run.listener(StageAdvanced(run.store, stage, len(done) + count + 1, len(tasks)))
    return files


def _export(request: RestoreRequest, listener: Listener) -> list[str]:
    if request.export is None:
        return []
    listener(StageStarted(request.store, "export", 1))
    return [str(export(request.store, request.export))]
