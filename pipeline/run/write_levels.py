"""Phase 2 of a run: stitch every shard of the image, then make every coarser level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from glassplate.pipeline.events import StageAdvanced, StageStarted
from glassplate.pipeline.failures import Failure
from glassplate.pipeline.files import sha256_of
from glassplate.pipeline.pools.pool import Work, ignore_progress
from glassplate.pipeline.provenance.journal import Journal
from glassplate.pipeline.provenance.records import ShardRecord, read_shard_records, shards_journal
from glassplate.pipeline.run.state import Run, error_of, refuse_damaged_source
from glassplate.pipeline.tiles.stitch import LevelTask, StitchTask, stitch_shard, write_level


def write_levels(run: Run) -> dict[str, str]:
    """Write every shard of every level; return the SHA-256 of each file by its path in the result."""
    with Journal(shards_journal(run.store), run.run_id) as journal:
        return {**_stitch(run, journal), **_pyramid(run, journal)}


def _stitch(run: Run, journal: Journal) -> dict[str, str]:
    """Write every shard of level 0."""
    missing = frozenset(run.missing)
    tasks = [
        StitchTask(run.plan, run.store, run.scratch_folder, shard, missing)
        for shard in run.plan.layout.shards()
    ]
    return _write_shards(run, journal, "stitch", 0, tasks, stitch_shard)


def _pyramid(run: Run, journal: Journal) -> dict[str, str]:
    """Write every coarser level from the one below it."""
    files: dict[str, str] = {}
    for level in range(1, run.plan.layout.levels):
        tasks = [
            LevelTask(run.plan, run.store, level, shard) for shard in run.plan.layout.shards(level)
        ]
        files |= _write_shards(run, journal, "pyramid", level, tasks, write_level)
    return files


def _write_shards(
    run: Run,
    journal: Journal,
    stage: Literal["stitch", "pyramid"],
    level: int,
    tasks: Sequence[StitchTask] | Sequence[LevelTask],
    work: Work,
) -> dict[str, str]:
    """Do the tasks of a level that are not done, and journal them.

    A shard is done if the journal says so for the same missing tiles, and its files are as they were written.
    """
    missing = run.missing
    recorded = {
        record.shard: record.files
        for record in read_shard_records(run.store, run.run_id)
        if record.level == level and record.missing == missing
    }
    done = {shard: files for shard, files in recorded.items() if _are_as_written(run, files)}
    run.listener(StageStarted(run.store, stage, len(tasks)))
    written = {path: digest for files in done.values() for path, digest in files.items()}
    waiting = [task for task in tasks if task.shard.index not in done]
    for count, (task, files) in enumerate(run.pool.map(work, waiting, ignore_progress), 1):
        run.inputs.check()
        if isinstance(files, Failure):
            refuse_damaged_source(files)
            raise error_of(files)(
                f"{run.store}: writing shard {task.shard.index} of level {level} failed: "
                f"{files.reason}; what is restored is kept, give the same command again"
            )
        journal.append(ShardRecord(level, task.shard.index, missing, files).to_json())
        written |= files
        run.listener(StageAdvanced(run.store, stage, len(done) + count, len(tasks)))
    return written


def _are_as_written(run: Run, files: Mapping[str, str]) -> bool:
    return all(
        (run.store / name).is_file() and sha256_of(run.store / name) == digest
        for name, digest in files.items()
    )
