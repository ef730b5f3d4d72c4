"""The stages of a run that write: stitch every shard of the image, then make every coarser level.

Each begins where the journal says, as the stages that fit do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from glassplate.pipeline.errors import GlassplateError
from glassplate.pipeline.events import StageAdvanced, StageStarted
from glassplate.pipeline.files import sha256_of
from glassplate.pipeline.pool import Failure, Tell
from glassplate.pipeline.provenance.documents import provenance_path
from glassplate.pipeline.provenance.journal import Journal, read_journal
from glassplate.pipeline.run.fit_stages import Run, refuse_damaged_source
from glassplate.pipeline.tiles.stitch import LevelTask, StitchTask, stitch_shard, write_level


def shards_journal(store: Path) -> Path:
    """Journal of the shards that are written, of every level."""
    return provenance_path(store, "shards.jsonl")


def stitch(run: Run, journal: Journal) -> dict[str, str]:
    """Phase 2: every shard of level 0; return the SHA-256 of each file."""
    missing = run.missing
    tasks = [
        StitchTask(run.plan, run.store, run.scratch_folder, shard, frozenset(missing))
        for shard in run.plan.layout.shards()
    ]
    return _shards(run, journal, "stitch", 0, tasks, stitch_shard)


def pyramid(run: Run, journal: Journal) -> dict[str, str]:
    """Every coarser level from the one below it; return the SHA-256 of each file."""
    files: dict[str, str] = {}
    for level in range(1, run.plan.layout.levels):
        tasks = [
            LevelTask(run.plan, run.store, level, shard) for shard in run.plan.layout.shards(level)
        ]
        files |= _shards(run, journal, "pyramid", level, tasks, write_level)
    return files


def _shards(
    run: Run,
    journal: Journal,
    stage: Literal["stitch", "pyramid"],
    level: int,
    tasks: Sequence[StitchTask] | Sequence[LevelTask],
    work: Callable[[Any, Tell], Any],
) -> dict[str, str]:
    """Do those tasks of a stage that the journal does not name as done with the same tiles.

    One whose file is missing or not as it was written is done again.
    """
    missing = run.missing
    recorded = {
        record["shard"]: record["files"]
        for record in read_journal(journal.path, run.run_id)
        if record["level"] == level and record["missing"] == missing
    }
    done = {shard: files for shard, files in recorded.items() if _are_as_written(run, files)}
    run.listener(StageStarted(run.store, stage, len(tasks)))
    files = {path: digest for of_shard in done.values() for path, digest in of_shard.items()}
    waiting = [task for task in tasks if task.shard.index not in done]
    for count, (task, outcome) in enumerate(run.pool.map(work, waiting, lambda _: None)):
        run.inputs.check()
        if isinstance(outcome, Failure):
            refuse_damaged_source(outcome.reason)
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


def _are_as_written(run: Run, files: Mapping[str, str]) -> bool:
    return all(
        (run.store / name).is_file() and sha256_of(run.store / name) == digest
        for name, digest in files.items()
    )
