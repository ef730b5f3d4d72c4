"""Phase 1: restore the windows of one batch, each into its own scratch file.

`restore_batch` is what a pool runs. It may run twice, be killed, or run beside another batch: it
writes only files of its own tiles, whole, and returns the records that the journal keeps.
"""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from glassplate.models.batching.fit_each import fit_each
from glassplate.models.estimate.restoration import Restoration
from glassplate.models.fit.log import Record
from glassplate.models.fit.problem import Measurement
from glassplate.pipeline.cached_source import cached_source
from glassplate.pipeline.failures import Failure, FailureKind
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.planning.windows_in_memory import windows_ahead
from glassplate.pipeline.pools.pool import OnProgress, throttled
from glassplate.pipeline.provenance.records import FailedTile, TileRecord
from glassplate.pipeline.sources.source import Pixels, Source
from glassplate.pipeline.tile_grid import Tile
from glassplate.pipeline.tiles.donor import DonorFile, read_donor
from glassplate.pipeline.tiles.kept_rays import kept_rays
from glassplate.pipeline.tiles.plausible import implausible
from glassplate.pipeline.tiles.prefetch import WriteBehind, read_ahead, reader_and_writer
from glassplate.pipeline.tiles.scratch import LOG_FIELDS, Scratch
from glassplate.pipeline.tiles.seeds import tile_seed

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class BatchTask:
    """One unit of work: the tiles of a batch that are still to be done."""

    plan: Plan
    scratch: Path
    tiles: tuple[int, ...]
    attempt: int = 0
    """0 for the first."""
    reseed: int = 0
    """Counts up where a fit went wrong; after any other failure the same seed gives the same bytes."""
    donor: DonorFile | None = None
    """Weights that the fits start from; None for random ones."""

    def seed(self, tile: int) -> int:
        """Seed of the fit of a tile."""
        return tile_seed(self.plan.recipe.seed, tile, self.reseed)


@dataclass(frozen=True, eq=False)
class Window:
    """A tile whose window is read."""

    tile: Tile
    pixels: Pixels


def restore_batch(task: BatchTask, on_progress: OnProgress) -> list[TileRecord | FailedTile]:
    """Restore the tiles of a batch.

    Returns
    -------
    records
        One for each tile, in order; a `FailedTile` where the fit diverged or cannot be right.

    Raises
    ------
    OSError
        If the scratch cannot be written (a full disk) or the source not read.
    """
    source = cached_source(task.plan.spec, task.plan.findings)
    return restore_batch_of(source, task, on_progress)


def restore_batch_of(
    source: Source, task: BatchTask, on_progress: OnProgress
) -> list[TileRecord | FailedTile]:
    """Restore the tiles of a batch from an opened source, which has the shape of the planned one."""
    plan = task.plan
    records: dict[int, Future[TileRecord | FailedTile]] = {}
    with reader_and_writer(plan.numerics.stack) as (reader, writer):
        behind = WriteBehind(writer, plan.numerics.stack)
        may_be_copied = task.tiles if plan.copied_because else ()
        for window in _windows(source, task, may_be_copied, reader):
            # one that needs a fit is read again for it, which costs a fraction of the fit
            if not _needs_a_fit(plan, window.pixels):
                records[window.tile.index] = behind.submit(_copy, task, window)
        to_fit = [tile for tile in task.tiles if tile not in records]
        windows = _windows(source, task, to_fit, reader)
        measured = ((window, _measure(task, window)) for window in windows)
        start = None if task.donor is None else read_donor(task.donor)
        on_record = _on_record(task, on_progress)
        for window, found in fit_each(measured, plan.tile_problem, on_record, start=start):
            records[window.tile.index] = behind.submit(_write, task, window, found)
    return [records[tile].result() for tile in task.tiles]


def _windows(
    source: Source, task: BatchTask, tiles: Sequence[int], reader: Executor
) -> Iterator[Window]:
    """Read the windows of tiles, some of them in advance."""
    grid = task.plan.grid

    def read(index: int) -> Window:
        tile = grid.tile(index)
        return Window(tile, source.read(tile.window, tile.channels))

    return read_ahead(read, tiles, reader, windows_ahead(task.plan.numerics.stack))


def _needs_a_fit(plan: Plan, pixels: Pixels) -> bool:
    """Whether there is something to restore; else the window is copied."""
    if plan.recipe.traits.fills_only or plan.removes_nothing:
        return bool(plan.to_fill(pixels).any())
    if pixels.hints is not None:
        return bool(np.isfinite(pixels.hints).any())
    return plan.recipe.traits.fits


def _measure(task: BatchTask, window: Window) -> Measurement:
    tile = window.tile
    return task.plan.measurement(window.pixels, task.seed(tile.index), tile.window.corner)


def _on_record(task: BatchTask, on_progress: OnProgress) -> Callable[[Window, Record], None]:
    """Report the progress of each fit."""
    on_progress = throttled(on_progress)
    cap = task.plan.tile_problem.fit.iterations

    def on_record(window: Window, record: Record) -> None:
        on_progress(
            {
                "tile": window.tile.index,
                "iteration": record.iteration,
                "iterations": cap,
                "seconds": record.seconds,
            }
        )

    return on_record


def _copy(task: BatchTask, window: Window) -> TileRecord:
    """Write a window as it was read."""
    start, plan, pixels = time.monotonic(), task.plan, window.pixels
    values = pixels.values.astype(plan.working_dtype, copy=False)
    if plan.white is not None:
        values = plan.in_lab(pixels, np.zeros((2, *values.shape[1:]), np.float32))
    if plan.recipe.uncertain:
        uncertain = plan.noise.pixel_variance(values) if plan.removes_nothing else np.nan
        values = np.concatenate([values, np.full_like(values, np.sqrt(uncertain))])
    crc32 = Scratch(task.scratch).write_window(window.tile.index, values)
    return TileRecord(
        tile=window.tile.index,
        attempt=task.attempt,
        crc32=crc32,
        iterations=0,
        stop_reason=plan.copied_because or plan.recipe.task,
        seconds=round(time.monotonic() - start, 6),
        filled=_in_core(window, plan.to_fill(pixels)),
        wild=_in_core(window, pixels.wild),
        host=platform.node(),
        pid=os.getpid(),
        ended=round(time.time(), 3),
    )


def _write(
    task: BatchTask, window: Window, found: Restoration | FloatingPointError
) -> TileRecord | FailedTile:
    """Write a restored window and the log of its fit, unless it cannot be right."""
    plan, tile = task.plan, window.tile.index
    if isinstance(found, FloatingPointError):
        return FailedTile(tile, task.attempt, Failure.of(found))
    if fault := implausible(plan, window.pixels, found.values):
        return FailedTile(tile, task.attempt, Failure(FailureKind.IMPLAUSIBLE, fault))
    scratch = Scratch(task.scratch)
    log_crc32 = scratch.write_log(tile, _log_array(found.log))
    crc32 = scratch.write_window(tile, _restored_values(plan, window.pixels, found))
    kept = kept_rays(plan, found.values, window.pixels)
    return TileRecord(
        tile=tile,
        attempt=task.attempt,
        crc32=crc32,
        iterations=found.iterations,
        stop_reason=found.stop_reason,
        seconds=round(found.seconds, 3),
        filled=_in_core(window, plan.to_fill(window.pixels) & ~kept),
        kept_rays=_in_core(window, kept),
        wild=_in_core(window, window.pixels.wild),
        host=platform.node(),
        pid=os.getpid(),
        ended=round(time.time(), 3),
        seed=task.seed(tile),
        start="random" if task.donor is None else "donor",
        log_crc32=log_crc32,
        best_iteration=found.best_iteration,
        heldout_loss=_finite_or_none(found.heldout_loss),
        chi2=_finite_or_none(found.chi2),
        whiteness=_finite_or_none(found.whiteness),
        guarded=found.guarded,
        slots=found.slots,
    )


def _log_array(log: Sequence[Record]) -> npt.NDArray[np.float64]:
    """The records of a fit, ``(record, field)``."""
    rows = [[getattr(record, field) for field in LOG_FIELDS] for record in log]
    return np.array(rows, np.float64).reshape(-1, len(LOG_FIELDS))


def _restored_values(plan: Plan, pixels: Pixels, restoration: Restoration) -> FloatArray:
    """What is written of a restoration: its values ``(c, h, w)``, then its uncertainty where wanted."""
    values, uncertainty = restoration.values, restoration.uncertainty
    if plan.recipe.traits.fills_only:
        # valid pixels stay as they are, so that neighbours are compared by what they filled in
        values = np.where(pixels.valid, pixels.values, values).astype(np.float32)
        if uncertainty is not None:
            uncertainty = np.where(pixels.valid, np.nan, uncertainty).astype(np.float32)
    if plan.white is not None:
        values = plan.in_lab(pixels, values)
    return values if uncertainty is None else np.concatenate([values, uncertainty])


def _in_core(window: Window, marked: npt.NDArray[np.bool_] | None) -> int:
    """How many pixels of the tile's core are marked in ``(c, h, w)``."""
    if marked is None:
        return 0
    core = window.tile.core.relative_to(window.tile.window).slices
    return int(marked[(slice(None), *core)].sum())


def _finite_or_none(value: float) -> float | None:
    """The value, or None where it is NaN or infinite, which JSON cannot say."""
    return float(value) if math.isfinite(value) else None
