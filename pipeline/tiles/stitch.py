"""Phase 2: blend all windows that touch an output shard, and write the shard once.

Nobody else writes there, so there is nothing to lock; the windows are read in the order of their
tiles, so the result does not depend on who restored them or when.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glassplate.models.colour import srgb_of
from glassplate.models.operators.operator import Operator
from glassplate.pipeline.files import sha256_of
from glassplate.pipeline.grid import Box
from glassplate.pipeline.open_source import cached_source
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.pool import OnProgress
from glassplate.pipeline.sources.source import Pixels
from glassplate.pipeline.store.ome_zarr import (
    Shard,
    open_array,
    residual_box,
    shard_file,
    tile_rows,
)
from glassplate.pipeline.store.pyramid import write_level_shard
from glassplate.pipeline.tiles.blend import Piece, axis_weight, blend
from glassplate.pipeline.tiles.scratch import Scratch


@dataclass(frozen=True)
class StitchTask:
    """One shard of level 0, with its residual and footprint."""

    plan: Plan
    store: Path
    scratch: Path
    shard: Shard
    missing: frozenset[int]
    """Tiles that were quarantined: they contribute nothing."""

    @property
    def planes(self) -> tuple[int, int]:
        """Planes of the shard that are restored, first to last + 1: all but alpha."""
        return self.plan.layout.restored(self.shard.channels)

    @property
    def count(self) -> int:
        """How many they are; in the shard's arrays they come first."""
        return self.planes[1] - self.planes[0]


@dataclass(frozen=True)
class LevelTask:
    """One shard of a coarser level."""

    plan: Plan
    store: Path
    level: int
    shard: Shard


def stitch_shard(task: StitchTask, on_progress: OnProgress) -> dict[str, str]:
    """Blend one shard from the scratch windows and write image, residual, footprint and what is filled.

    Returns
    -------
    files
        SHA-256 of each file that was written, by its path in the result.
    """
    plan, layout, shard = task.plan, task.plan.layout, task.shard
    source = cached_source(plan.spec)
    channels, count = shard.channels[1] - shard.channels[0], task.count
    image = np.empty((channels, *shard.box.shape), layout.dtype)
    footprint = np.zeros((channels, *shard.box.shape), np.float32)
    filled = np.zeros(image.shape, np.uint8)
    uncertainty = np.full((channels * layout.uncertain, *shard.box.shape), np.nan, np.float32)
    below = residual_box(shard.box, layout.scale)
    residual = np.zeros((channels, *below.shape), layout.residual_dtype)
    for strip in tile_rows(shard.box, layout.chunk):
        lower = residual_box(strip, layout.scale)
        here = strip.relative_to(shard.box).slices
        if count < channels and source.alpha is not None:
            image[-1, *here] = _enlarged(source.alpha(lower)[None], layout.scale)[0]
        if count == 0:
            continue
        place = (slice(count), *here)
        windows, weight = _blended(task, strip)
        pixels = source.read(lower, task.planes)
        final = finish(plan, windows[:count], pixels)
        image[place], footprint[place] = final, weight
        if layout.uncertain:
            uncertainty[place] = uncertainty_of(plan, windows[count:], pixels)
        filled[place] = _enlarged(plan.to_fill(pixels), layout.scale) & (weight > 0)
        residual[(slice(count), *lower.relative_to(below).slices)] = (
            _residual_through_operator(task, strip, pixels)
            if layout.mixes
            else _residual(
                final, plan.in_source_units(pixels.values), pixels, layout.residual_dtype
            )
        )
    written = {"0": (image, shard.box), "footprint": (footprint, shard.box)}
    written["residual"] = (residual, below)
    if layout.fills:
        written["filled"] = (filled, shard.box)
    if layout.uncertain:
        written["uncertainty"] = (uncertainty, shard.box)
    files: dict[str, str] = {}
    for name, (values, box) in written.items():
        index = layout.index(shard.channels, box)
        open_array(task.store, name)[index] = values.reshape(values.shape[-layout.ndim :])
        files |= _checksum(task.store, shard_file(task.store, name, layout, shard))
    return files


def write_level(task: LevelTask, on_progress: OnProgress) -> dict[str, str]:
    """Make one shard of a coarser level; return the SHA-256 of its file, as `stitch_shard` does."""
    write_level_shard(task.store, task.plan.layout, task.level, task.shard)
    path = shard_file(task.store, str(task.level), task.plan.layout, task.shard)
    return _checksum(task.store, path)


def _checksum(store: Path, path: Path) -> dict[str, str]:
    """SHA-256 of a shard's file; none for a shard of nothing but the fill value, which has no file."""
    return {path.relative_to(store).as_posix(): sha256_of(path)} if path.is_file() else {}


def _blended(task: StitchTask, box: Box) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
    """Blended windows over a region of the output, and the footprint ``(h, w)``.

    The windows are ``(c, h, w)``; with uncertainty ``(2 c, h, w)``, blended with the same weights, as if
    windows erred alike, which they do, having seen the same pixels.
    """
    return blend(box, task.count * (1 + task.plan.layout.uncertain), _pieces(task, box))


def _pieces(task: StitchTask, box: Box) -> Iterator[Piece]:
    grid, scale = task.plan.grid, task.plan.layout.scale
    scratch = Scratch(task.scratch)
    # the windows of the source's pixels under the region, grown to whole pixels
    lower = Box(box.y0 // scale, -(-box.y1 // scale), box.x0 // scale, -(-box.x1 // scale))
    for tile in grid.touching(task.shard.group, lower):
        if tile.index not in task.missing:
            yield Piece(
                box=tile.window.scaled(scale),
                values=scratch.read_window(tile.index),
                weight_y=axis_weight(grid.y, tile.row, scale),
                weight_x=axis_weight(grid.x, tile.col, scale),
            )


def finish(plan: Plan, restored: npt.NDArray[np.float64], pixels: Pixels) -> npt.NDArray[Any]:
    """Turn blended estimates into stored pixels: flux, invalid pixels, rounding.

    Parameters
    ----------
    restored
        ``(c, h, w)`` in the units of `pixels`; NaN where no tile contributed.
    pixels
        The input under the same region, ``(c, h / scale, w / scale)``.

    Returns
    -------
    final
        ``(c, h, w)`` in the result's dtype, source units. Invalid pixels are NaN, or the input's own value
        for integers and for what alpha hides, unless the recipe fills them, which it does not for what
        alpha hides; so are pixels to which no tile contributed. Where the task is to fill them, valid
        pixels are the input's own.
    """
    scale, dtype = plan.layout.scale, np.dtype(plan.layout.dtype)
    valid = _enlarged(pixels.valid, scale)
    final = restored * plan.flux_factor
    if plan.recipe.task == "inpaint":
        final[valid] = pixels.values[valid]
    if plan.recipe.denoises:
        final = _held(plan, final, pixels)
    if plan.white is not None:
        final = _coloured(plan, plan.white, restored, pixels)
    unknown = np.isnan(final)
    unknown |= ~valid & ~_enlarged(plan.to_fill(pixels), scale)
    if pixels.hidden is not None:
        hidden = np.broadcast_to(_enlarged(pixels.hidden[None], scale), final.shape)
        final[hidden] = _given(plan, pixels)[hidden]
        unknown &= ~hidden
    if dtype.kind == "f":
        final[unknown] = np.nan
        return plan.in_source_units(final).astype(dtype)
    final[unknown] = _given(plan, pixels)[unknown]
    final = plan.in_source_units(final)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(final), limits.min, limits.max).astype(dtype)


def _given(plan: Plan, pixels: Pixels) -> npt.NDArray[np.float64]:
    """The input's own values on the grid of the result, ``(c, h, w)``."""
    given: npt.NDArray[np.float64] = _enlarged(pixels.values, plan.layout.scale) * plan.flux_factor
    return given


def _held(plan: Plan, restored: npt.NDArray[np.float64], pixels: Pixels) -> npt.NDArray[np.float64]:
    """Mix grain back, and keep each pixel near its measurement, as far as the recipe asks for it."""
    output, y = plan.recipe.output, pixels.values
    held = restored
    if output.grain:
        held = held + output.grain * (y - held)
    if output.clamp:
        variance = plan.noise.variance(restored) if pixels.variance is None else pixels.variance
        most = output.clamp * np.sqrt(variance)
        held = np.clip(held, y - most, y + most)
    return held if held is restored else np.where(pixels.valid, held, restored)


def _coloured(
    plan: Plan, white: float, restored: npt.NDArray[np.float64], pixels: Pixels
) -> npt.NDArray[np.float64]:
    """Red, green and blue of L, a, b ``(3, h, w)``, as light as the photograph is, whatever L was fitted."""
    grey, chroma = plan.grey_of(pixels), np.nan_to_num(restored[1:])
    return np.where(np.isnan(restored), np.nan, white * srgb_of(grey, chroma))


def uncertainty_of(
    plan: Plan, blended: npt.NDArray[np.float64], pixels: Pixels
) -> npt.NDArray[np.float32]:
    """Standard deviation of what `finish` gives, ``(c, h, w)``; NaN where it gives no estimate."""
    unknown = _enlarged(~pixels.valid & ~plan.to_fill(pixels), plan.layout.scale)
    stated = plan.in_source_units(blended * plan.flux_factor)
    return np.where(unknown, np.nan, stated).astype(np.float32)


def _enlarged(values: npt.NDArray[Any], scale: int) -> npt.NDArray[Any]:
    return values if scale == 1 else values.repeat(scale, axis=1).repeat(scale, axis=2)


def _residual(
    final: npt.NDArray[Any], given: npt.NDArray[np.floating], pixels: Pixels, dtype: str
) -> npt.NDArray[Any]:
    """Input minus restored: what was removed. NaN where floats are invalid, but not at defects."""
    if np.dtype(dtype).kind == "f":
        difference = given.astype(np.float64) - final
        known = pixels.valid if pixels.found is None else pixels.valid | pixels.found
        return np.where(known, difference, np.nan).astype(dtype)
    # the mean of several exposures is no whole number
    whole = np.rint(given).astype(np.int64) - final.astype(np.int64)
    residual: npt.NDArray[Any] = whole.astype(dtype)
    return residual


def _residual_through_operator(
    task: StitchTask, strip: Box, pixels: Pixels
) -> npt.NDArray[np.float32]:
    """Input minus A(restored), on the input's grid, ``(c, h, w)`` float32."""
    operator, layout = task.plan.operator, task.plan.layout
    # whole source pixels of margin, so that A sees the neighbours it reaches
    margin = -(-operator.support // layout.scale) * layout.scale
    around = strip.grown(margin, layout.shape[1:])
    windows, _ = _blended(task, around)
    measured = _through(operator, windows[: task.count])  # (c, h, w)
    inner = residual_box(strip, layout.scale).relative_to(residual_box(around, layout.scale))
    predicted = measured[(slice(None), *inner.slices)]
    difference = task.plan.in_source_units(pixels.values - predicted)
    return np.where(pixels.valid, difference, np.nan).astype(np.float32)


def _through(operator: Operator, restored: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``A x``, ``(c, h, w)`` of ``(c, H, W)``; NaN where a pixel that it needs is NaN, and only there.

    An FFT would spread a single NaN of a quarantined tile over the whole strip.
    """
    import torch
    import torch.nn.functional as F

    estimate = torch.from_numpy(restored)[None]  # (1, C, H, W)
    unknown = estimate.isnan()
    measured = operator.forward(torch.where(unknown, 0, estimate))[0]  # (C, h, w)
    if unknown.any():
        m = operator.support
        wide = F.pad(unknown.float(), (m, m, m, m))
        needed = F.max_pool2d(wide, operator.scale + 2 * m, stride=operator.scale)  # (1, C, h, w)
        measured[needed[0] > 0] = torch.nan
    result: npt.NDArray[np.float64] = measured.numpy()
    return result
