"""Where artificial sources are put: on empty places, in as few tiles as hold them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glassplate.models.noise.model import NoiseModel
from glassplate.pipeline.assess.injection.artificial import (
    KINDS,
    SIGNIFICANCES,
    ArtificialSource,
    Kind,
)
from glassplate.pipeline.assess.injection.matched_filter import flux_map, scatter
from glassplate.pipeline.assess.injection.profile import PointSpread, Profile
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.sources.source import Source
from glassplate.pipeline.tile_grid import Axis, Box, Tile
from glassplate.pipeline.tiles.blend import axis_weight

FloatArray = npt.NDArray[np.float64]

# Signal to noise from which something is there already, and the place is not empty.
EMPTY = 4.0
# Scatters beyond which a flux is that of a source, and rounds of this clipping.
CLIP, ROUNDS = 3.0, 5
# Pixels between the squares in which two sources are measured.
BETWEEN = 5
# Largest distance of a source from the middle of its place, pixels.
JITTER = 2.0


@dataclass(frozen=True)
class Reach:
    """Sizes around a source, pixels."""

    measured: int
    """Half the side of the square in which its flux is measured."""

    @property
    def step(self) -> int:
        """Distance between two sources."""
        return 2 * self.measured + 1 + BETWEEN

    @property
    def cell(self) -> int:
        """Half the side of the square in which it is searched for: that of no other source."""
        return self.step // 2

    @property
    def box(self) -> int:
        """Half the side of the square that is read around its place."""
        return self.cell + self.measured + math.ceil(JITTER)


@dataclass(frozen=True)
class Place:
    """An empty place, and how well fluxes are measured around it."""

    y: int
    x: int
    errors: tuple[float, float]
    """Scatter of the fluxes of a point and of a galaxy where there is nothing, source units."""

    def error(self, kind: Kind) -> float:
        """Scatter of the fluxes of a kind."""
        return self.errors[KINDS.index(kind)]


def find_places(
    source: Source, plan: Plan, psf: PointSpread, count: int, rng: np.random.Generator
) -> list[Place]:
    """Find empty places of the first plane, tile after tile in random order, until there are enough.

    They lie where one tile alone counts, if there are enough such places, so that one tile is restored
    again and not nine.

    Returns
    -------
    places
        At most `count`; fewer where the image has no more.
    """
    reach = Reach(psf.measured_half)
    _, rows, columns = plan.grid.dimensions
    tiles = [plan.grid.tile(int(index)) for index in rng.permutation(rows * columns)]
    places: list[Place] = []
    for alone in (True, False):
        places = []
        for tile in tiles:
            box = _inner(plan, tile, reach, alone=alone)
            if box is not None:
                found = list(_empty_places(source, plan, box, psf, reach))
                rng.shuffle(found)
                places += found[: count - len(places)]
            if len(places) == count:
                return places
    return places


def _inner(plan: Plan, tile: Tile, reach: Reach, *, alone: bool) -> Box | None:
    """Where the middles of places of a tile may lie; None where it has no room for one."""
    rows, columns = (
        _inner_range(axis, k, reach.box, alone=alone)
        for axis, k in ((plan.grid.y, tile.row), (plan.grid.x, tile.col))
    )
    if rows[0] >= rows[1] or columns[0] >= columns[1]:
        return None
    return Box(*rows, *columns)


def _inner_range(axis: Axis, k: int, margin: int, *, alone: bool) -> tuple[int, int]:
    """First and one past the last pixel of a core with `margin` pixels on both sides within the image.

    With `alone`, its window alone has weight in these pixels.
    """
    start, stop = axis.core_bounds(k)
    low, high = max(start, margin), min(stop, axis.size - margin)
    if alone:
        first, _ = axis.window_bounds(k)
        whole = np.flatnonzero(axis_weight(axis, k) > 1 - 1e-9) + first
        if not len(whole):
            return 0, 0
        low, high = max(low, int(whole[0]) + margin), min(high, int(whole[-1]) + 1 - margin)
    return low, high


def _empty_places(
    source: Source, plan: Plan, box: Box, psf: PointSpread, reach: Reach
) -> Iterator[Place]:
    """Places on a grid over a box whose square is valid and empty."""
    around = box.grown(reach.box, plan.grid.shape[1:])
    pixels = source.read(around, plan.grid.channels(0))
    image = np.where(
        pixels.valid[0], plan.in_source_units(pixels.values[0].astype(np.float64)), np.nan
    )
    galaxy = psf.galaxy(0.0)
    maps = [flux_map(image, profile.at(0, 0, reach.measured)) for profile in (psf.star, galaxy)]
    errors = tuple(_scatter_of_nothing(one) for one in maps)
    if not min(errors) > 0:
        return
    # one grid for all tiles, so that places of two tiles are not too close
    for y in range(-(-box.y0 // reach.step) * reach.step, box.y1, reach.step):
        for x in range(-(-box.x0 // reach.step) * reach.step, box.x1, reach.step):
            # the map begins where the first square has its middle
            row, column = y - around.y0 - reach.measured, x - around.x0 - reach.measured
            cell = maps[0][
                row - reach.cell : row + reach.cell + 1,
                column - reach.cell : column + reach.cell + 1,
            ]
            if np.isfinite(cell).all() and cell.max() < EMPTY * errors[0]:
                yield Place(y, x, (errors[0], errors[1]))


def _scatter_of_nothing(fluxes: FloatArray) -> float:
    """Scatter of the fluxes of a map where there is no source, which clipping finds."""
    known = fluxes[np.isfinite(fluxes)]
    for _ in range(ROUNDS):
        known = known[np.abs(known - np.median(known)) <= CLIP * scatter(known)]
    return scatter(known)


def make_sources(
    places: list[Place], psf: PointSpread, noise: NoiseModel | None, rng: np.random.Generator
) -> list[ArtificialSource]:
    """Put sources of all kinds and significances, equally many of each, on places.

    Where the noise grows with the signal, a source brings the noise of its own photons.
    """
    classes = [(kind, significance) for significance in SIGNIFICANCES for kind in KINDS]
    sources = []
    for place, which in zip(places, rng.permutation(len(places)), strict=True):
        kind, significance = classes[int(which) % len(classes)]
        angle = float(rng.uniform(0, math.pi))
        dy, dx = (float(shift) for shift in rng.uniform(-JITTER, JITTER, 2))
        y, x = place.y + dy, place.x + dx
        profile = psf.star if kind == "point" else psf.galaxy(angle)
        flux = significance * place.error(kind)
        light = flux * profile.at(y - round(y), x - round(x))
        if noise is not None and noise.slope > 0:
            light = light + rng.normal(0, np.sqrt(noise.slope * light.clip(min=0)))
        sources.append(ArtificialSource(kind, y, x, significance, flux, angle, light.tobytes()))
    return sources


def profile_of(source: ArtificialSource, psf: PointSpread) -> Profile:
    """The profile of a source."""
    return psf.star if source.kind == "point" else psf.galaxy(source.angle)
