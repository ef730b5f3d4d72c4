"""The maps with one value for each tile, as a page draws them."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from glassplate.pipeline.errors import StoreError
from glassplate.pipeline.pages.shown_result import ShownResult
from glassplate.pipeline.provenance.records import read_tile_records
from glassplate.pipeline.text import number, plural

# Maps of a result in the order of the page, with the title of each.
TITLES = {
    "chi2": "chi2",
    "stop_reason": "Why the fit ended",
    "iterations": "Iterations",
    "best_iteration": "Best iteration",
    "heldout_loss": "Held-out loss",
    "whiteness": "Correlation of the residual",
    "seam": "Difference to the next tiles",
    "seconds": "Seconds",
    "attempts": "Attempts",
}
ATTEMPTS = "how often the tile was tried; more than once where a result was refused as implausible or failed"
# Colours of a map run between these percentiles, so that one tile alone does not decide them.
LOW, HIGH = 2.0, 98.0
# Tiles of all planes up to which each has its own value in the page: 8 maps of them are 3 MB. An image of
# 4 Gpx has as many.
MOST_TILES = 1 << 16


@dataclass(frozen=True)
class TileValues:
    """A map, ``(group, row, column)``; NaN where a tile has no value."""

    name: str
    title: str
    meaning: str
    values: npt.NDArray[np.float32]
    codes: tuple[str, ...] = ()
    """What the values 0, 1, ... mean; empty for numbers."""

    @property
    def limits(self) -> tuple[float, float]:
        """Values that have the darkest and the brightest colour."""
        known = self.values[np.isfinite(self.values)]
        if not known.size:
            return 0.0, 1.0
        if self.codes:
            return 0.0, float(max(1, len(self.codes) - 1))
        low, high = (float(value) for value in np.percentile(known, [LOW, HIGH]))
        return low, high if high > low else low + max(1e-9, abs(low) / 10)

    @property
    def words(self) -> str:
        """What the map shows, in one sentence."""
        known = self.values[np.isfinite(self.values)]
        if not known.size:
            return "no tile has a value"
        if self.codes:
            counts = Counter(self.codes[int(code)] for code in known)
            return ", ".join(f"{name}: {plural(n, 'tile')}" for name, n in counts.most_common())
        least, middle, most = float(known.min()), float(np.median(known)), float(known.max())
        if least == most:
            return f"{number(least)} in every tile"
        return f"{number(least)} to {number(most)}, median {number(middle)}"

    def to_json(self) -> dict[str, Any]:
        """For the script of the page; the values are little-endian float32."""
        low, high = self.limits
        shape = dict(zip(("groups", "rows", "columns"), self.values.shape, strict=True))
        packed = base64.b64encode(self.values.astype("<f4").tobytes()).decode("ascii")
        kept = {key: value for key, value in asdict(self).items() if key != "values"}
        return {**kept, **shape, "low": low, "high": high, "words": self.words, "values": packed}


def tile_values(shown: ShownResult) -> list[TileValues]:
    """Read the maps of a result, without those in which no tile has a value.

    Raises
    ------
    StoreError
        If they are missing.
    """
    try:
        group = zarr.open_group(shown.store / "quality", mode="r")
    except FileNotFoundError as error:
        raise StoreError(
            f"{shown.store}: the maps in quality are missing; `glassplate verify` it"
        ) from error
    maps = []
    for name, title in TITLES.items():
        if name not in group:
            continue
        array = group[name]
        attributes: dict[str, Any] = dict(array.attrs)
        values = np.asarray(array[...], np.float32)
        codes = tuple(attributes.get("codes", ()))
        maps.append(TileValues(name, title, attributes.get("meaning", ""), values, codes))
    if maps:
        maps.append(_attempts(shown, maps[0].values.shape))
    return [_few_enough(one) for one in maps if np.isfinite(one.values).any()]


def _attempts(shown: ShownResult, shape: tuple[int, ...]) -> TileValues:
    """How often each tile was tried, by the journal."""
    counts = np.zeros(int(np.prod(shape)), np.float32)
    for record in read_tile_records(shown.store, shown.manifest.run_id):
        counts[record.tile] += 1
    return TileValues("attempts", TITLES["attempts"], ATTEMPTS, counts.reshape(shape))


def _few_enough(one: TileValues) -> TileValues:
    """The first plane of a map of very many tiles, and if need be the largest value of squares of tiles."""
    if one.values.size <= MOST_TILES:
        return one
    values = one.values[:1]
    side = 1
    while values[:, ::side, ::side].size > MOST_TILES:
        side += 1
    _, rows, columns = values.shape
    room = np.full((1, -(-rows // side) * side, -(-columns // side) * side), -np.inf, np.float32)
    room[:, :rows, :columns] = np.where(np.isnan(values), -np.inf, values)
    largest = room.reshape(1, room.shape[1] // side, side, room.shape[2] // side, side).max((2, 4))
    meaning = one.meaning + "; of the first plane" * (len(one.values) > 1)
    if side > 1:
        meaning += f"; the largest value of each {side} x {side} tiles"
    return TileValues(
        one.name, one.title, meaning, np.where(np.isinf(largest), np.nan, largest), one.codes
    )
