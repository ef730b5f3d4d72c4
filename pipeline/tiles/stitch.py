"""Phase 2: blend all windows that touch an output shard, and write the shard once.

Only one task writes a shard, so that nothing needs a lock. The windows are read in the order of their
tiles, so that the result does not depend on which worker restored them or when.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.cached_source import cached_source
from glassplate.pipeline.files import sha256_of
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.pools.pool import OnProgress
from glassplate.pipeline.sources.source import Pixels
from glassplate.pipeline.store.layout import Shard, residual_box, row_strips
from glassplate.pipeline.store.ome_zarr import open_array, shard_file
from glassplate.pipeline.store.pyramid import write_level_shard
from glassplate.pipeline.tile_grid import Box
from glassplate.pipeline.tiles.blend import Piece, axis_weight, blend
from glassplate.pipeline.tiles.finish import (
    apply_operator,
    enlarged,
    finish,
    residual_of,
    uncertainty_of,
)
from glassplate.pipeline.tiles.kept_rays import kept_rays
from glassplate.pipeline.tiles.scratch import Scratch


@dataclass(frozen=True)
class StitchTask:
    """One shard of level 0, with the same region of the residual, the footprint and the other arrays."""

    plan: Plan
    store: Path
    scratch: Path
    shard: Shard
    missing: frozenset[int]
    """Quarantined tiles, which have no window."""

    @property
    def planes(self) -> tuple[int, int]:
        """Planes of the shard that are restored, as start and stop: all but alpha."""
        return self.plan.layout.restored(self.shard.channels)

    @property
    def count(self) -> int:
        """Number of restored planes, which come first in the shard's arrays."""
        return self.planes[1] - self.planes[0]


@dataclass(frozen=True)
class LevelTask:
    """One shard of a coarser level."""

    plan: Plan
    store: Path
    level: int
    shard: Shard


def stitch_shard(task: StitchTask, on_progress: OnProgress) -> dict[str, str]:
    """Blend one shard from the restored windows; write image, residual, footprint and the other arrays.

    Returns
    -------
    files
        SHA-256 of each file that was written, by its path in the result.
    """
    arrays = _empty_arrays(task)
    for strip in row_strips(task.shard.box, task.plan.layout.chunk):
        _stitch_strip(task, strip, arrays)
    layout, files = task.plan.layout, dict[str, str]()
    for name, values in arrays.items():
        index = layout.index(task.shard.channels, _box_of(name, task))
        open_array(task.store, name)[index] = values.reshape(values.shape[-layout.ndim :])
        files |= _checksum(task.store, shard_file(task.store, name, layout, task.shard))
    return files


def _box_of(name: str, task: StitchTask) -> Box:
    """Region of the shard in an array; the residual is on the grid of the input."""
    box, scale = task.shard.box, task.plan.layout.scale
    return residual_box(box, scale) if name == "residual" else box


def _empty_arrays(task: StitchTask) -> dict[str, npt.NDArray[Any]]:
    """The shard of each array of the result, ``(c, h, w)``, to be filled."""
    layout = task.plan.layout
    channels, shape = task.shard.channels[1] - task.shard.channels[0], task.shard.box.shape
    arrays: dict[str, npt.NDArray[Any]] = {
        "0": np.empty((channels, *shape), layout.dtype),
        "footprint": np.zeros((channels, *shape), np.float32),
        "residual": np.zeros((channels, *_box_of("residual", task).shape), layout.residual_dtype),
    }
    if layout.fills:
        arrays["filled"] = np.zeros((channels, *shape), np.uint8)
    if layout.uncertain:
        arrays["uncertainty"] = np.full((channels, *shape), np.nan, np.float32)
    return arrays


def _stitch_strip(task: StitchTask, strip: Box, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Fill the rows of a strip in each array of a shard."""
    plan, layout, count = task.plan, task.plan.layout, task.count
    source = cached_source(plan.spec, plan.findings)
    below = residual_box(strip, layout.scale)
    rows = strip.relative_to(task.shard.box).slices
    if count < len(arrays["0"]) and source.alpha is not None:
        arrays["0"][-1, *rows] = enlarged(source.alpha(below)[None], layout.scale)[0]
    if count == 0:
        return
    place = (slice(count), *rows)
    windows, weight = _blended(task, strip)
    pixels = source.read(below, task.planes)
    kept = kept_rays(plan, windows[:count], pixels)
    final = finish(plan, windows[:count], pixels)
    arrays["0"][place], arrays["footprint"][place] = final, weight
    if layout.uncertain:
        error = uncertainty_of(plan, windows[count:], pixels)
        arrays["uncertainty"][place] = np.where(enlarged(kept, layout.scale), np.nan, error)
    if layout.fills:
        filled = enlarged(plan.to_fill(pixels) & ~kept, layout.scale)
        arrays["filled"][place] = filled & (weight > 0)
    rows_below = below.relative_to(_box_of("residual", task)).slices
    arrays["residual"][(slice(count), *rows_below)] = (
        _residual_through_operator(task, strip, pixels)
        if layout.mixes
        else residual_of(final, plan.in_source_units(pixels.values), pixels, layout.residual_dtype)
    )


def write_level(task: LevelTask, on_progress: OnProgress) -> dict[str, str]:
    """Make one shard of a coarser level; return the SHA-256 of its file, as `stitch_shard` does."""
    write_level_shard(task.store, task.plan.layout, task.level, task.shard)
    path = shard_file(task.store, str(task.level), task.plan.layout, task.shard)
    return _checksum(task.store, path)


def _checksum(store: Path, path: Path) -> dict[str, str]:
    """SHA-256 of a shard's file by its path; empty where all is the fill value, which leaves no file."""
    return {path.relative_to(store).as_posix(): sha256_of(path)} if path.is_file() else {}


def _blended(task: StitchTask, box: Box) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
    """Blended windows over a region of the output, ``(c, h, w)``, and the footprint ``(h, w)``.

    With uncertainty it is ``(2 c, h, w)``. The uncertainty is blended with the same weights, which takes the
    errors of overlapping windows for fully correlated: they were fitted to the same pixels.
    """
    return blend(box, task.count * (1 + task.plan.layout.uncertain), _pieces(task, box))


def _pieces(task: StitchTask, box: Box) -> Iterator[Piece]:
    grid, scale = task.plan.grid, task.plan.layout.scale
    scratch = Scratch(task.scratch)
    # the region in pixels of the source, grown to whole ones
    lower = Box(box.y0 // scale, -(-box.y1 // scale), box.x0 // scale, -(-box.x1 // scale))
    for tile in grid.touching(task.shard.group, lower):
        if tile.index not in task.missing:
            yield Piece(
                box=tile.window.scaled(scale),
                values=scratch.read_window(tile.index),
                weight_y=axis_weight(grid.y, tile.row, scale),
                weight_x=axis_weight(grid.x, tile.col, scale),
            )


def _residual_through_operator(
    task: StitchTask, strip: Box, pixels: Pixels
) -> npt.NDArray[np.float32]:
    """Input minus A(restored), on the input's grid, ``(c, h, w)`` float32; NaN where the input is invalid."""
    operator, layout = task.plan.operator, task.plan.layout
    # a margin of whole source pixels that A reaches into
    margin = -(-operator.support // layout.scale) * layout.scale
    around = strip.grown(margin, layout.shape[1:])
    windows, _ = _blended(task, around)
    measured = apply_operator(operator, windows[: task.count])  # (c, h, w)
    inner = residual_box(strip, layout.scale).relative_to(residual_box(around, layout.scale))
    predicted = measured[(slice(None), *inner.slices)]
    difference = task.plan.differences_in_source_units(pixels.values - predicted)
    return np.where(pixels.valid, difference, np.nan).astype(np.float32)
