"""The stages of a run that fit: the donor, every tile, second looks. Those that write are in `shards`.

Each stage begins where its journal says, so that a stage may be cut short anywhere and gone on with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from glassplate.pipeline.errors import GlassplateError, SourceError
from glassplate.pipeline.events import (
    FitProgress,
    Listener,
    StageAdvanced,
    StageStarted,
    TileDone,
    Warned,
)
from glassplate.pipeline.planning.donor_reuse import WEIGHTS, take_over
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.pool import Failure, Pool
from glassplate.pipeline.provenance.documents import provenance_path
from glassplate.pipeline.provenance.input_watch import InputWatch
from glassplate.pipeline.provenance.journal import Journal, read_journal
from glassplate.pipeline.tiles.batch import BatchTask, failed_record, is_disk_full, restore_batch
from glassplate.pipeline.tiles.donor import DonorFile, DonorTask, donor_is, make_donor
from glassplate.pipeline.tiles.scratch import Scratch
from glassplate.pipeline.tiles.second_look import outliers

# Tries at a tile before it is quarantined.
ATTEMPTS = 2


@dataclass
class Run:
    """A run under way."""

    store: Path
    plan: Plan
    pool: Pool
    listener: Listener
    inputs: InputWatch
    """Checked before anything that was made from the inputs is journalled as done."""
    manifest: dict[str, Any]
    records: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Last good record of each tile that is done."""
    donor: DonorFile | None = None
    """Weights that tiles start from; None where each starts from random ones."""
    failures: dict[int, str] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        """Which run it is; the same where it goes on."""
        return str(self.manifest["run_id"])

    @property
    def scratch_folder(self) -> Path:
        """Where windows wait to be stitched."""
        return self.store / ".scratch"

    @property
    def missing(self) -> list[int]:
        """Tiles that are not done, in order."""
        return [tile for tile in range(len(self.plan.grid)) if tile not in self.records]


def tiles_journal(store: Path) -> Path:
    """Journal of every attempt at every tile."""
    return provenance_path(store, "tiles.jsonl")


def donor_journal(store: Path) -> Path:
    """Journal of the one donor."""
    return provenance_path(store, "donor.jsonl")


def prepare_donor(run: Run) -> None:
    """Phase 0: fit the donor, unless an earlier run did or the tiles need none."""
    if not run.plan.warm:
        return
    path = provenance_path(run.store, WEIGHTS)
    for record in read_journal(donor_journal(run.store), run.run_id):
        file = DonorFile(path, record["sha256"])
        if donor_is(file):
            run.donor = file
            return
    before = _taken_over(run)
    total = run.plan.donor_iterations
    run.listener(StageStarted(run.store, "donor", total))

    def tell(message: Mapping[str, Any]) -> None:
        run.listener(StageAdvanced(run.store, "donor", message["done"], total))

    with Journal(donor_journal(run.store), run.run_id) as journal:
        for _, outcome in run.pool.map(make_donor, [DonorTask(run.plan, path, before)], tell):
            run.inputs.check()
            if isinstance(outcome, Failure):
                refuse_damaged_source(outcome.reason)
                raise GlassplateError(
                    f"{run.store}: fitting the donor failed: {outcome.reason}; give the same command "
                    "again, or start every tile from random weights with --set donor.tiles=0"
                )
            journal.append(outcome)
            run.donor = DonorFile(path, outcome["sha256"])


def refuse_damaged_source(reason: str) -> None:
    """Pass on the refusal of a worker that could not read the source, whose pixels later stages need."""
    kind, _, refusal = reason.partition(": ")
    if kind == SourceError.__name__:
        raise SourceError(refusal)


def _taken_over(run: Run) -> DonorFile | None:
    """The weights of an earlier result, from now on with this one."""
    donor = run.plan.donor
    return None if donor is None else DonorFile(take_over(donor, run.store), donor.file.sha256)


def restore_tiles(run: Run) -> None:
    """Phase 1: every tile that is not done, in batches; a tile that fails is tried again."""
    total = len(run.plan.grid)
    run.listener(StageStarted(run.store, "restore", total))

    def tell(message: Mapping[str, Any]) -> None:
        run.listener(FitProgress(run.store, **message))

    with Journal(tiles_journal(run.store), run.run_id) as journal:
        for attempt in range(ATTEMPTS):
            tasks = _batch_tasks(run, attempt)
            for task, outcome in run.pool.map(restore_batch, tasks, tell):
                _take_in(run, journal, task, outcome)
    reasons = sorted(set(run.failures.values()))
    for reason in reasons:
        refuse_damaged_source(reason)
    if not run.records:
        raise GlassplateError(f"{run.plan.spec.path}: all {total} tiles failed: {reasons[0]}")
    for tile in run.missing:
        run.listener(Warned(run.store, f"tile {tile} is quarantined: {run.failures[tile]}"))


def look_again(run: Run) -> None:
    """Fit the tiles once more that are less smooth than the others; where that fails the first fit stays."""
    tasks = _second_looks(run)
    if not tasks:
        return
    _look(run, tasks)
    lost = _written_over(run, [run.records[tile] for task in tasks for tile in task.tiles])
    for tile in lost:
        del run.records[tile]
    if lost:
        restore_tiles(run)


def _look(run: Run, tasks: Sequence[BatchTask]) -> None:
    """Take second looks; the record of a tile is then that of the fit that is kept."""
    done, total = 0, sum(len(task.tiles) for task in tasks)
    run.listener(StageStarted(run.store, "second look", total))
    with Journal(tiles_journal(run.store), run.run_id) as journal:
        for records in _alone_where_failed(run, tasks):
            run.inputs.check()
            good = [record for record in records if record["ok"]]
            # in one piece, as those of first fits
            journal.append(*good)
            run.records.update({record["tile"]: record for record in good})
            for record in records:
                if not record["ok"]:
                    message = f"second look at tile {record['tile']}: {record['error']}"
                    run.listener(Warned(run.store, message))
            done += len(records)
            run.listener(StageAdvanced(run.store, "second look", done, total))


def _second_looks(run: Run) -> list[BatchTask]:
    """Second looks still to be taken, in batches as large as those of first fits.

    A batch is journalled in one piece, so that a run that was killed goes on with the same ones.
    """
    tolerance, size = run.plan.recipe.tiles.outliers, run.plan.batch_size
    tiles = [] if tolerance is None else outliers(run.records, tolerance)
    batches = [tiles[first : first + size] for first in range(0, len(tiles), size)]
    return [
        BatchTask(
            run.plan,
            run.scratch_folder,
            tuple(batch),
            reseed=ATTEMPTS,
            earlier={tile: run.records[tile] for tile in batch},
        )
        for batch in batches
    ]


def _alone_where_failed(run: Run, tasks: Sequence[BatchTask]) -> Iterator[list[dict[str, Any]]]:
    """Records of each batch as it ends; tiles of one that fails as a whole are then done one by one."""
    failed: list[BatchTask] = []
    for task, outcome in run.pool.map(restore_batch, tasks, lambda _: None):
        if not isinstance(outcome, Failure):
            yield outcome
            continue
        # windows of the batch may be second ones already, which no record tells of: see _written_over
        _stop_if_disk_is_full(run, outcome)
        if len(task.tiles) == 1:
            yield [failed_record(task.tiles[0], task.attempt, outcome.reason)]
        else:
            failed += [replace(task, tiles=(tile,)) for tile in task.tiles]
    if failed:
        yield from _alone_where_failed(run, failed)


def _written_over(run: Run, records: Iterable[Mapping[str, Any]]) -> list[int]:
    """Tiles whose window is not that of their good record.

    A batch that failed as a whole may have written some; where its tiles then failed alone, too, or
    were judged otherwise, the record is that of the first fit.
    """
    scratch = Scratch(run.scratch_folder)
    return [
        record["tile"]
        for record in records
        if not scratch.window_is(record["tile"], record["crc32"])
    ]


def _batch_tasks(run: Run, attempt: int) -> list[BatchTask]:
    """Tiles still to be done: as the plan cut them; after a failure, one by one."""
    if attempt == 0:
        waiting = [
            tuple(tile for tile in batch if tile not in run.records) for batch in run.plan.batches
        ]
        return [
            BatchTask(run.plan, run.scratch_folder, tiles, donor=run.donor)
            for tiles in waiting
            if tiles
        ]
    return [
        BatchTask(
            run.plan,
            run.scratch_folder,
            (tile,),
            attempt,
            reseed=attempt if run.failures[tile].startswith("FloatingPointError") else 0,
            donor=run.donor,
        )
        for tile in run.missing
    ]


def _take_in(run: Run, journal: Journal, task: BatchTask, outcome: Any) -> None:
    run.inputs.check()
    if isinstance(outcome, Failure):
        _stop_if_disk_is_full(run, outcome)
        outcome = [failed_record(tile, task.attempt, outcome.reason) for tile in task.tiles]
    # in one piece, so that a run that is killed here goes on with whole batches
    journal.append(*outcome)
    for record in outcome:
        tile = record["tile"]
        if not record["ok"]:
            run.failures[tile] = record["error"]
            run.listener(TileDone(run.store, tile, False, 0, record["error"], 0.0))
            continue
        run.records[tile] = record
        run.failures.pop(tile, None)
        run.listener(
            TileDone(
                store=run.store,
                tile=tile,
                ok=True,
                iterations=record["iterations"],
                stop_reason=record["stop_reason"],
                seconds=record["seconds"],
            )
        )


def _stop_if_disk_is_full(run: Run, failure: Failure) -> None:
    if is_disk_full(failure.reason):
        raise GlassplateError(
            f"{run.store}: {failure.reason}; free some disk and give the same command again, "
            f"{len(run.records)} of {len(run.plan.grid)} tiles are done"
        )
