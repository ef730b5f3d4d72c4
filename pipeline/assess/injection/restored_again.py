"""Tiles restored again, of an image with artificial sources in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.assess.injection.artificial import ArtificialSource, SourceWithSources
from glassplate.pipeline.assess.injection.recorded_run import RecordedRun
from glassplate.pipeline.errors import GlassplateError
from glassplate.pipeline.failures import Failure
from glassplate.pipeline.open_source import open_files
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.pools.pool import OnProgress, Pool, ignore_progress
from glassplate.pipeline.provenance.records import FailedTile, TileRecord
from glassplate.pipeline.sources.source import Source
from glassplate.pipeline.tile_grid import Box
from glassplate.pipeline.tiles.batch import BatchTask, restore_batch_of
from glassplate.pipeline.tiles.blend import Piece, axis_weight, blend
from glassplate.pipeline.tiles.finish import finish
from glassplate.pipeline.tiles.scratch import Scratch

FloatArray = npt.NDArray[np.float64]

# Attempts at a tile, as in a run.
ATTEMPTS = 2


@dataclass(frozen=True)
class AgainTask:
    """One tile to be restored again."""

    batch: BatchTask
    sources: tuple[ArtificialSource, ...]


@contextmanager
def opened_with_sources(plan: Plan, sources: Sequence[ArtificialSource]) -> Iterator[Source]:
    """Open the image of a plan as its run read it, with artificial sources.

    They are added to what the file holds, before wild pixels and defects are looked for.
    """
    with open_files(plan.spec) as files:
        files.image = SourceWithSources(files.image, sources)
        yield files.source(plan.findings)


def restore_again(task: AgainTask, on_progress: OnProgress) -> list[TileRecord | FailedTile]:
    """Restore one tile; see `restore_batch`."""
    with opened_with_sources(task.batch.plan, task.sources) as source:
        return restore_batch_of(source, task.batch, on_progress)


def tiles_that_count(plan: Plan, box: Box) -> list[int]:
    """Tiles of the first channel group that have blend weight in a box."""
    return [
        tile.index
        for tile in plan.grid.touching(0, box)
        if (common := tile.window.intersection(box)) is not None
        and _weight(plan, tile.index, common).any()
    ]


def _weight(plan: Plan, index: int, box: Box) -> FloatArray:
    """Blend weight of a tile in a part of its window."""
    tile = plan.grid.tile(index)
    rows, columns = box.relative_to(tile.window).slices
    weight: FloatArray = (
        axis_weight(plan.grid.y, tile.row)[rows, None] * axis_weight(plan.grid.x, tile.col)[columns]
    )
    return weight


def restore_tiles_again(
    run: RecordedRun,
    sources: Sequence[ArtificialSource],
    tiles: Sequence[int],
    folder: Path,
    pool: Pool,
) -> frozenset[int]:
    """Restore tiles of an image with artificial sources into a folder; return those that succeeded.

    Raises
    ------
    GlassplateError
        If none succeeded.
    """
    done: set[int] = set()
    reasons: list[str] = []
    for attempt in range(ATTEMPTS):
        waiting = [tile for tile in tiles if tile not in done]
        tasks = [
            AgainTask(
                BatchTask(run.plan, folder, (tile,), attempt, reseed=attempt, donor=run.donor),
                _near(run.plan, tile, sources),
            )
            for tile in waiting
        ]
        for _, outcome in pool.map(restore_again, tasks, ignore_progress):
            if isinstance(outcome, Failure):
                reasons.append(outcome.reason)
                continue
            done |= {record.tile for record in outcome if isinstance(record, TileRecord)}
            reasons += [one.failure.reason for one in outcome if isinstance(one, FailedTile)]
    if not done:
        raise GlassplateError(
            f"{run.plan.spec.path}: no tile could be restored again: {reasons[-1]}"
        )
    return frozenset(done)


def _near(
    plan: Plan, tile: int, sources: Sequence[ArtificialSource]
) -> tuple[ArtificialSource, ...]:
    """Sources whose light may reach the window of a tile, or pixels around it that defects are judged by."""
    window = plan.grid.tile(tile).window
    margin = 64 + (len(sources[0].pixels) if sources else 0)
    around = window.grown(margin, plan.grid.shape[1:])
    return tuple(
        one
        for one in sources
        if around.y0 <= one.centre[0] < around.y1 and around.x0 <= one.centre[1] < around.x1
    )


class RestoredAgain:
    """The restored image where tiles were restored again, as a user would get it: blended and finished."""

    def __init__(self, plan: Plan, source: Source, folder: Path, done: frozenset[int]) -> None:
        self._plan, self._source = plan, source
        self._scratch, self._done = Scratch(folder), done

    def input(self, box: Box) -> FloatArray:
        """First plane of the input with the sources, ``(h, w)``, source units; NaN invalid."""
        pixels = self._source.read(box, self._plan.grid.channels(0))
        values = self._plan.in_source_units(pixels.values[0].astype(np.float64))
        return np.where(pixels.valid[0], values, np.nan)

    def result(self, box: Box) -> FloatArray:
        """First plane of the restored image, ``(h, w)``, source units; NaN where a tile is missing."""
        plan = self._plan
        first, last = plan.grid.channels(0)
        count = last - first
        pieces = [
            Piece(
                box=tile.window,
                values=self._scratch.read_window(tile.index)[:count],
                weight_y=axis_weight(plan.grid.y, tile.row),
                weight_x=axis_weight(plan.grid.x, tile.col),
            )
            for tile in plan.grid.touching(0, box)
            if tile.index in self._done
        ]
        image, footprint = blend(box, count, pieces)
        final = finish(plan, image, self._source.read(box, (first, last)))
        return np.where(footprint == 1, final[0].astype(np.float64), np.nan)
