"""Phase 1: restore the windows of one batch, each into its own scratch file.

`restore_batch` is what a pool runs. It may run twice, be killed, or run beside another batch: it
writes only files of its own tiles, whole, and returns the records that the journal keeps.
"""

from __future__ import annotations

import errno
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glassplate.models.fit.loop import Measurement, Record, Restoration, fit_each
from glassplate.pipeline.grid import Tile
from glassplate.pipeline.open_source import cached_source
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.planning.windows_in_memory import windows_ahead
from glassplate.pipeline.pool import Tell, seldom, with_its_kind
from glassplate.pipeline.sources.source import Pixels
from glassplate.pipeline.tiles.donor import DonorFile, read_donor
from glassplate.pipeline.tiles.prefetch import AtOnce, WriteBehind, read_ahead
from glassplate.pipeline.tiles.scratch import Scratch
from glassplate.pipeline.tiles.second_look import is_better, looked_at_again
from glassplate.pipeline.tiles.seeds import tile_seed

FloatArray = npt.NDArray[np.float32]

# Why a tile of which every pixel is valid ends at once, where the task is to fill the others.
NOTHING_TO_FILL = "nothing to fill"
# Why a tile without a hint ends at once, where the task is to colour.
NO_HINT = "no hint"

# By task, why a window is copied.
COPIED = {"inpaint": NOTHING_TO_FILL, "colorize": NO_HINT}

LOG_FIELDS = ("iteration", "data_term", "heldout_loss", "chi2", "variance", "seconds")


@dataclass(frozen=True)
class BatchTask:
    """One unit of work: the tiles of a batch that are still to be done."""

    plan: Plan
    scratch: Path
    tiles: tuple[int, ...]
    attempt: int = 0
    """0 for the first try."""
    reseed: int = 0
    """Counts up where a fit diverged; after any other fault the same seed gives the same bytes."""
    donor: DonorFile | None = None
    """Weights that the fits start from; None for random ones."""
    earlier: Mapping[int, Mapping[str, Any]] | None = None
    """Records of the tiles' first fits, where this is a second look at them: from random weights, and kept
    only where it is better."""


def restore_batch(task: BatchTask, tell: Tell) -> list[dict[str, Any]]:
    """Restore the tiles of a batch.

    Returns
    -------
    records
        One for each tile, in order, ready for the journal; of a fit that diverged one that says so.

    Raises
    ------
    OSError
        If the scratch cannot be written (a full disk) or the source not read.
    """
    if task.plan.numerics.stack == 1:
        return _restored(task, tell, AtOnce(), AtOnce())
    # a thread each, so that a device is not kept waiting for a disk
    with ThreadPoolExecutor(1) as reading, ThreadPoolExecutor(1) as writing:
        return _restored(task, tell, reading, writing)


def _restored(
    task: BatchTask, tell: Tell, reading: Executor, writing: Executor
) -> list[dict[str, Any]]:
    """Read, fit and write the tiles of a batch, each as its turn comes."""
    plan, scratch = task.plan, Scratch(task.scratch)
    source = cached_source(plan.spec)
    tiles = [plan.grid.tile(index) for index in task.tiles]
    behind = WriteBehind(writing, plan.numerics.stack)
    fitted: dict[int, Pixels] = {}
    records: dict[int, Future[dict[str, Any]]] = {}

    def read(place: int) -> Pixels:
        return source.read(tiles[place].window, tiles[place].channels)

    def to_be_fitted() -> Iterator[tuple[int, Measurement]]:
        """Place and measurement of each tile that needs a fit; the others are copied."""
        ahead = windows_ahead(plan.numerics.stack)
        for place, pixels in enumerate(read_ahead(read, range(len(tiles)), reading, ahead)):
            tile = tiles[place]
            if not _needs_a_fit(plan, pixels):
                records[place] = behind.submit(_copy, scratch, tile, pixels, task)
                continue
            fitted[place] = pixels
            seed = tile_seed(plan.recipe.seed, tile.index, task.reseed)
            yield place, plan.measurement(pixels, seed, tile.window.corner)

    start = None if task.donor is None else read_donor(task.donor)
    problem = plan.tile_problem if task.earlier is None else plan.problem
    for place, found in fit_each(to_be_fitted(), problem, _progress(task, tell), start=start):
        tile, pixels = tiles[place], fitted.pop(place)
        if isinstance(found, FloatingPointError):
            records[place] = behind.submit(
                failed_record, tile.index, task.attempt, with_its_kind(found)
            )
        else:
            records[place] = behind.submit(_write, scratch, tile, pixels, found, task)
    return [records[place].result() for place in range(len(tiles))]


def _needs_a_fit(plan: Plan, pixels: Pixels) -> bool:
    """Whether a window is to be fitted: not to be copied, filled where nothing is missing, nor left grey."""
    if plan.recipe.task == "inpaint":
        return bool(plan.to_fill(pixels).any())
    if pixels.hints is not None:
        return bool(np.isfinite(pixels.hints).any())
    return plan.recipe.task != "identity"


def _progress(task: BatchTask, tell: Tell) -> Callable[[int, Record], None]:
    tell = seldom(tell)
    cap = task.plan.tile_problem.fit.iterations

    def on_record(place: int, record: Record) -> None:
        tell(
            {
                "tile": task.tiles[place],
                "iteration": record.iteration,
                "iterations": cap,
                "seconds": record.seconds,
            }
        )

    return on_record


def failed_record(tile: int, attempt: int, reason: str) -> dict[str, Any]:
    """The record of a tile that has no restoration."""
    return {"tile": tile, "attempt": attempt, "ok": False, "error": reason}


def _copy(scratch: Scratch, tile: Tile, pixels: Pixels, task: BatchTask) -> dict[str, Any]:
    start, plan = time.monotonic(), task.plan
    values = pixels.values.astype(plan.working_dtype, copy=False)
    if plan.white is not None:
        values = plan.in_lab(pixels, np.zeros((2, *values.shape[1:]), np.float32))
    if plan.recipe.uncertain:
        values = np.concatenate([values, np.full_like(values, np.nan)])
    crc32 = scratch.write_window(tile.index, values)
    return {
        **_common(tile, pixels, task),
        "crc32": crc32,
        "iterations": 0,
        "stop_reason": COPIED.get(plan.recipe.task, plan.recipe.task),
        "seconds": round(time.monotonic() - start, 6),
    }


def _write(
    scratch: Scratch, tile: Tile, pixels: Pixels, restoration: Restoration, task: BatchTask
) -> dict[str, Any]:
    log = np.array(
        [[getattr(record, field) for field in LOG_FIELDS] for record in restoration.log], "f8"
    ).reshape(-1, len(LOG_FIELDS))
    first = None if task.earlier is None else task.earlier[tile.index]
    judged = {
        "heldout_loss": finite_or_none(restoration.heldout_loss),
        "chi2": finite_or_none(restoration.chi2),
    }
    if first is not None and not is_better(judged, first):
        return looked_at_again(first, first)
    log_crc32 = scratch.write_log(tile.index, log)
    values, recipe = restoration.values, task.plan.recipe
    if recipe.task == "inpaint":
        # what neighbours disagree by is then what they filled in
        values = np.where(pixels.valid, pixels.values, values).astype(np.float32)
    if task.plan.white is not None:
        values = task.plan.in_lab(pixels, values)
    if restoration.uncertainty is not None:
        values = np.concatenate([values, _stated(restoration.uncertainty, pixels, task)])
    crc32 = scratch.write_window(tile.index, values)
    record = {
        **_common(tile, pixels, task),
        **judged,
        "seed": tile_seed(recipe.seed, tile.index, task.reseed),
        "start": "donor" if task.donor is not None else "random",
        "crc32": crc32,
        "log_crc32": log_crc32,
        "iterations": restoration.iterations,
        "best_iteration": restoration.best_iteration,
        "stop_reason": restoration.stop_reason,
        "guarded": restoration.guarded,
        "whiteness": finite_or_none(restoration.whiteness),
        "slots": restoration.slots,
        "seconds": round(restoration.seconds, 3),
    }
    return record if first is None else looked_at_again(record, first)


def _stated(uncertainty: FloatArray, pixels: Pixels, task: BatchTask) -> FloatArray:
    """Uncertainty where something was restored: NaN where a valid pixel is left as it is."""
    if task.plan.recipe.task != "inpaint":
        return uncertainty
    return np.where(pixels.valid, np.nan, uncertainty).astype(np.float32)


def _common(tile: Tile, pixels: Pixels, task: BatchTask) -> dict[str, Any]:
    core = tile.core.relative_to(tile.window).slices
    return {
        "tile": tile.index,
        "attempt": task.attempt,
        "ok": True,
        "wild": 0 if pixels.wild is None else int(pixels.wild[(slice(None), *core)].sum()),
        "filled": int(task.plan.to_fill(pixels)[(slice(None), *core)].sum()),
        "host": platform.node(),
        "pid": os.getpid(),
        "ended": round(time.time(), 3),
    }


def finite_or_none(value: float) -> float | None:
    """The value, or None where it is NaN or infinite, which JSON cannot say."""
    return float(value) if math.isfinite(value) else None


def is_disk_full(reason: str) -> bool:
    """Whether a failure's one-line reason tells of a full disk."""
    return os.strerror(errno.ENOSPC) in reason or os.strerror(errno.EDQUOT) in reason
