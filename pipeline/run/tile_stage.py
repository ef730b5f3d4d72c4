"""Phase 1 of a run: restore every tile that is not done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glassplate.pipeline.errors import DiskFullError, GlassplateError, PassingError
from glassplate.pipeline.events import FitProgress, StageStarted, TileDone, Warned
from glassplate.pipeline.failures import Failure, FailureKind
from glassplate.pipeline.provenance.journal import Journal
from glassplate.pipeline.provenance.records import FailedTile, TileRecord, tiles_journal
from glassplate.pipeline.run.state import Run, refuse_damaged_source
from glassplate.pipeline.tiles.batch import BatchTask, restore_batch

# Attempts at a tile before it is quarantined.
ATTEMPTS = 2
# Failures after which the same seed would give the same bytes again.
ANOTHER_SEED = frozenset({FailureKind.DIVERGED, FailureKind.IMPLAUSIBLE})


def restore_tiles(run: Run) -> None:
    """Restore the tiles in batches; those that fail are tried again, one by one."""
    total = len(run.plan.grid)
    run.listener(StageStarted(run.store, "restore", total))

    def on_progress(message: Mapping[str, Any]) -> None:
        run.listener(FitProgress(run.store, **message))

    with Journal(tiles_journal(run.store), run.run_id) as journal:
        for attempt in range(ATTEMPTS):
            tasks = _single_tiles(run, attempt) if attempt else _batches(run)
            for task, outcome in run.pool.map(restore_batch, tasks, on_progress):
                _record_outcome(run, journal, task, outcome)
    failures = sorted(run.failures.values(), key=lambda failure: failure.reason)
    for failure in failures:
        refuse_damaged_source(failure)
    if not run.records:
        kind = PassingError if any(one.kind.passing for one in failures) else GlassplateError
        raise kind(f"{run.plan.spec.path}: all {total} tiles failed: {failures[0].reason}")
    for tile in run.missing:
        run.listener(Warned(run.store, f"tile {tile} is quarantined: {run.failures[tile].reason}"))


def _batches(run: Run) -> list[BatchTask]:
    """First attempts: the batches of the plan, without the tiles that are done."""
    waiting = (
        tuple(tile for tile in batch if tile not in run.records) for batch in run.plan.batches
    )
    return [
        BatchTask(run.plan, run.scratch_folder, tiles, donor=run.donor)
        for tiles in waiting
        if tiles
    ]


def _single_tiles(run: Run, attempt: int) -> list[BatchTask]:
    """Further attempts at the tiles that failed, one by one; with another seed where the fit went wrong."""
    return [
        BatchTask(
            run.plan,
            run.scratch_folder,
            (tile,),
            attempt,
            reseed=attempt if run.failures[tile].kind in ANOTHER_SEED else 0,
            donor=run.donor,
        )
        for tile in run.missing
    ]


def _record_outcome(
    run: Run,
    journal: Journal,
    task: BatchTask,
    outcome: list[TileRecord | FailedTile] | Failure,
) -> None:
    """Journal the outcome of a batch, and report each of its tiles."""
    run.inputs.check()
    if isinstance(outcome, Failure):
        _stop_if_disk_is_full(run, outcome)
        if outcome.kind is FailureKind.SOURCE_AWAY:  # each other tile would wait for it as long
            refuse_damaged_source(outcome)
        outcome = [FailedTile(tile, task.attempt, outcome) for tile in task.tiles]
    # in one piece, so that a run that is killed here resumes with whole batches
    journal.append(*(record.to_json() for record in outcome))
    for record in outcome:
        if isinstance(record, FailedTile):
            run.failures[record.tile] = record.failure
            run.listener(TileDone(run.store, record.tile, False, 0, record.failure.reason, 0.0))
            continue
        run.records[record.tile] = record
        run.failures.pop(record.tile, None)
        run.listener(
            TileDone(
                store=run.store,
                tile=record.tile,
                ok=True,
                iterations=record.iterations,
                stop_reason=record.stop_reason,
                seconds=record.seconds,
            )
        )


def _stop_if_disk_is_full(run: Run, failure: Failure) -> None:
    if failure.kind is FailureKind.DISK_FULL:
        raise DiskFullError(
            f"{run.store}: {failure.reason}; free some disk and give the same command again, "
            f"{len(run.records)} of {len(run.plan.grid)} tiles are done"
        )
