"""Maps with one value for each tile, and the iteration log, of a result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.provenance.records import TileRecord
from glassplate.pipeline.store.ome_zarr import made_in_memory
from glassplate.pipeline.tile_grid import Tile, TileGrid
from glassplate.pipeline.tiles.blend import axis_weight
from glassplate.pipeline.tiles.scratch import LOG_FIELDS, Scratch

# Maps that are fields of the tile records, with their meaning; `seam` is measured from the windows.
MAPS = {
    "iterations": "iterations that were run",
    "best_iteration": "iteration whose average is the answer",
    "chi2": "mean squared residual over the noise variance, valid pixels",
    "heldout_loss": "loss on the pixels kept from the fit, at the best iteration",
    "whiteness": "lag-1 autocorrelation of the residual",
    "seconds": "time of the fit",
}

QUARANTINED = "quarantined"


def write_quality(
    store: Path, plan: Plan, records: Mapping[int, TileRecord], scratch: Scratch
) -> None:
    """Write the group ``quality``: one value for each tile, as ``(group, row, col)`` maps.

    Parameters
    ----------
    records
        Record of each tile that is done; a quarantined tile has none, and NaN in every map.
    """
    grid = plan.grid
    fitted = plan.fits  # copies of one image cannot disagree
    seams = [
        seam_score(grid, tile, scratch, records) if fitted else np.nan for tile in range(len(grid))
    ]
    reasons = [
        records[tile].stop_reason if tile in records else QUARANTINED for tile in range(len(grid))
    ]
    names = sorted(set(reasons))
    codes = np.array([names.index(reason) for reason in reasons], np.float64)
    with made_in_memory(store / "quality") as memory:
        group = zarr.create_group(
            memory, attributes={"tile_core": grid.core, "tile_halo": grid.halo}
        )
        for name, meaning in MAPS.items():
            values = [_number(records.get(tile), name) for tile in range(len(grid))]
            _write_map(group, name, np.array(values), grid, {"meaning": meaning})
        _write_map(
            group,
            "seam",
            plan.differences_in_source_units(np.array(seams)),
            grid,
            {"meaning": "RMS difference to the next tiles where both count, source units"},
        )
        _write_map(
            group, "stop_reason", codes, grid, {"meaning": "why the fit ended", "codes": names}
        )


def _write_map(
    group: zarr.Group,
    name: str,
    values: npt.NDArray[np.float64],
    grid: TileGrid,
    attributes: dict[str, Any],
) -> None:
    array = group.create_array(
        name,
        shape=grid.dimensions,
        dtype="float32",
        chunks=grid.dimensions,
        fill_value=np.nan,
        dimension_names=("group", "row", "col"),
        attributes=attributes,
        config={"write_empty_chunks": True},
    )
    array[...] = values.reshape(grid.dimensions).astype(np.float32)


def _number(record: TileRecord | None, name: str) -> float:
    value = getattr(record, name, None)
    return np.nan if value is None else float(value)


def seam_score(grid: TileGrid, index: int, scratch: Scratch, done: Container[int]) -> float:
    """How much a tile and its neighbours to the right and below disagree where they are blended.

    Parameters
    ----------
    done
        Tiles that have a window; the others were quarantined.

    Returns
    -------
    score
        RMS difference, in the units of the windows, over the pixels at which both have blend weight;
        NaN where there is no such neighbour. Where it is small, no seam is visible.
    """
    tile = grid.tile(index)
    if index not in done:
        return np.nan
    group = grid.group_of(tile.channels[0])
    squares, count = 0.0, 0
    for row, col in ((tile.row, tile.col + 1), (tile.row + 1, tile.col)):
        if row >= grid.y.count or col >= grid.x.count:
            continue
        other = grid.tile(grid.index(group, row, col))
        if other.index in done:
            total, pixels = _disagreement(grid, tile, other, scratch)
            squares, count = squares + total, count + pixels
    return float(np.sqrt(squares / count)) if count else np.nan


def _disagreement(grid: TileGrid, tile: Tile, other: Tile, scratch: Scratch) -> tuple[float, int]:
    channels = tile.channels[1] - tile.channels[0]
    mine, theirs = (scratch.read_window(one.index)[:channels] for one in (tile, other))
    scale = mine.shape[1] // tile.window.shape[0]
    common = tile.window.scaled(scale).intersection(other.window.scaled(scale))
    if common is None:
        return 0.0, 0
    views = []
    for one, values in ((tile, mine), (other, theirs)):
        inside = common.relative_to(one.window.scaled(scale)).slices
        weight = (
            axis_weight(grid.y, one.row, scale)[inside[0], None]
            * axis_weight(grid.x, one.col, scale)[None, inside[1]]
        )
        views.append((weight > 0, np.asarray(values[(slice(None), *inside)], np.float64)))
    both = views[0][0] & views[1][0]
    difference = (views[0][1] - views[1][1])[:, both]
    return float((difference**2).sum()), difference.size


def write_iterations(store: Path, tiles: Sequence[int], total: int, scratch: Scratch) -> None:
    """Write the group ``iterations``: an array ``(tile, record)`` float64 for each field of the log.

    It is NaN after the last record of a tile. It is written in bands of tiles, so that the memory does not
    grow with their number.

    Parameters
    ----------
    tiles
        Tiles that were fitted.
    total
        Tiles of the plan.
    """
    group = zarr.open_group(store, mode="r+").create_group("iterations", overwrite=True)
    if not tiles:
        return
    longest = max(len(scratch.read_log(tile)) for tile in tiles)
    band = 1024
    arrays = {
        field: group.create_array(
            field,
            shape=(total, longest),
            dtype="float64",
            chunks=(min(band, total), max(1, longest)),
            fill_value=np.nan,
            dimension_names=("tile", "record"),
        )
        for field in LOG_FIELDS
    }
    done = set(tiles)
    for start in range(0, total, band):
        stop = min(start + band, total)
        logs = np.full((stop - start, longest, len(LOG_FIELDS)), np.nan)
        for tile in range(start, stop):
            if tile in done:
                log = scratch.read_log(tile)
                logs[tile - start, : len(log)] = log
        for i, field in enumerate(LOG_FIELDS):
            arrays[field][start:stop] = logs[:, :, i]


def count_reasons(records: Iterable[TileRecord]) -> dict[str, int]:
    """How many tiles ended for each reason, most frequent first."""
    counts = Counter(record.stop_reason for record in records)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
