"""What was removed: whether it is noise, as much noise as was found, and everywhere.

A residual that is noise has no neighbours that are alike, does not follow the image, and has the variance of
the noise at every level and place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.assess.background import Background
from glassplate.pipeline.assess.blocks import BLOCK, block_means, cells, in_blocks, repeated
from glassplate.pipeline.assess.result import AssessedResult, Region, rounded

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

# Side of the blocks whose mean is subtracted before residual and estimate are correlated, pixels: it leaves
# stars, strokes and edges, and takes slopes of the sky out.
DETAIL = 16
# Standard deviations of the noise beyond which a residual, and the detail of an estimate, are cut off where
# they are correlated, so that a few bright stars do not decide alone.
MOST_RESIDUAL, MOST_DETAIL = 5.0, 10.0
# Levels above the background in standard deviations of its noise, between which chi2 is told apart.
LEVELS = (-math.inf, 1.0, 3.0, 10.0, 30.0, 100.0, math.inf)
# Parts of the range from black to white of a photograph between which it is told apart.
TONES = 8
# Parts of the image along an axis.
PLACES = 8
# Fewest pixels of a level or a part.
FEWEST = 100


@dataclass(frozen=True)
class LevelChi2:
    """The residual of the pixels whose restored value lies between two levels."""

    low: float | None
    """Source units; None where there is no lower limit."""
    high: float | None
    """Source units; None where there is no upper limit."""
    pixels: int
    chi2: float | None
    """Mean of the squared residual over the variance of the noise; None with fewer than 100 pixels."""
    mean: float | None
    """Mean residual in standard deviations of the noise: positive where light was lost."""

    @property
    def limits(self) -> str:
        """Both levels in words, without their unit."""
        if self.low is None:
            return f"below {self.high:.4g}"
        if self.high is None:
            return f"above {self.low:.4g}"
        return f"from {self.low:.4g} to {self.high:.4g}"


@dataclass(frozen=True)
class PlaceChi2:
    """chi2 of the equal parts of an image, at most 8 x 8."""

    low: float | None
    """Least chi2 of a part; None here and below if no part has 100 pixels."""
    median: float | None
    high: float | None
    """Largest chi2 of a part."""
    highest_at: tuple[int, int] | None
    """First row and column of the part with the largest chi2, pixels of the input."""
    parts: tuple[tuple[float | None, ...], ...]
    """chi2 of each part by row and column; None where it has fewer than 100 pixels."""


@dataclass(frozen=True)
class Residual:
    """The residual of a result, over all pixels that were valid and not filled."""

    pixels: int
    rms: float | None
    """Root of the mean square, source units."""
    chi2: float | None
    """Mean square over the variance of the noise; 1 is expected, less where noise is left. None if no noise
    was measured, or a noise image was given, whose chi2 is in the map quality/chi2."""
    lag1_rows: float | None
    """Correlation of vertical neighbours, -1 to 1."""
    lag1_columns: float | None
    """Correlation of horizontal neighbours, -1 to 1."""
    lag1_expected: float | None
    """Correlation of neighbours in the noise that was found; None if no noise was measured."""
    with_estimate: float | None
    """Correlation of the residual with the detail of the restored image, -1 to 1; 0 is expected. The detail
    is the image less the mean of its 16 x 16 block. None if one of them is constant."""
    by_level: tuple[LevelChi2, ...]
    """By level above the background in standard deviations of the noise: below 1, to 3, 10, 30, 100, and
    above; in photographs eight equal parts from black to white. Empty without `chi2`."""
    by_place: PlaceChi2 | None
    """None without `chi2`."""


def measure_residual(result: AssessedResult, background: Background | None) -> Residual:
    """Measure the residual, cell by cell."""
    sums = _Sums(_edges(result, background), result.shape)
    for box in cells(result.shape):
        sums.add(result, result.read(box))
    return sums.figures(result)


def _edges(result: AssessedResult, background: Background | None) -> FloatArray:
    """Limits between the levels, source units, ascending; empty where no noise or no level is known."""
    if result.noise is None:
        return np.zeros(0)
    if result.is_photograph:
        return np.linspace(0, result.white, TONES + 1)
    if background is None or background.level_before is None:
        return np.zeros(0)
    sky = background.level_before
    sigma = math.sqrt(float(result.noise.variance(np.float64(sky))))
    return sky + sigma * np.array(LEVELS)


@dataclass
class _Sums:
    """Sums over the cells; their size does not grow with the image."""

    edges: FloatArray
    shape: tuple[int, int, int]
    pixels: int = 0
    square: float = 0.0
    """Squares of the residual, source units."""
    pairs: FloatArray = field(default_factory=lambda: np.zeros((2, 2)))
    """Products and mean squares of vertical and of horizontal neighbours."""
    moments: FloatArray = field(default_factory=lambda: np.zeros(6))
    """Number, sums, squares and products of residual and detail."""
    levels: FloatArray = field(init=False)
    """``(level, 3)``: number, sum and squares."""
    places: FloatArray = field(default_factory=lambda: np.zeros((PLACES, PLACES, 2)))
    """Number and squares of each part."""

    def __post_init__(self) -> None:
        self.levels = np.zeros((max(len(self.edges) - 1, 0), 3))

    def add(self, result: AssessedResult, region: Region) -> None:
        """Count the residual of one region."""
        known = region.known
        sigma = result.sigma(region.estimate)
        unit = np.ones_like(region.estimate) if sigma is None else sigma
        noisy = known & (unit > 0)
        scaled = np.divide(region.residual, unit, out=np.full(unit.shape, np.nan), where=noisy)
        self.pixels += int(known.sum())
        self.square += float((region.residual[known] ** 2).sum())
        cut = scaled if sigma is None else np.clip(scaled, -MOST_RESIDUAL, MOST_RESIDUAL)
        self._add_pairs(cut)
        self._add_moments(cut, region, unit, sigma is not None)
        if sigma is not None:
            self._add_levels(scaled[noisy], region.estimate[noisy])
            self._add_places(scaled, region)

    def _add_pairs(self, residual: FloatArray) -> None:
        """Neighbours within blocks of 64 x 64 pixels, so that the cells do not matter."""
        blocks = in_blocks(residual, BLOCK)
        squares = blocks.reshape(*blocks.shape[:-1], BLOCK, BLOCK)
        for place, (first, second) in enumerate(
            (
                (squares[..., :-1, :], squares[..., 1:, :]),
                (squares[..., :, :-1], squares[..., :, 1:]),
            )
        ):
            both = np.isfinite(first) & np.isfinite(second)
            a, b = first[both], second[both]
            self.pairs[place] += float(a @ b), float(a @ a + b @ b) / 2

    def _add_moments(
        self, residual: FloatArray, region: Region, unit: FloatArray, cut: bool
    ) -> None:
        known = np.isfinite(residual)
        estimate = np.where(known, region.estimate, np.nan)
        mean = repeated(block_means(estimate, DETAIL), DETAIL, region.box.shape)
        detail = np.divide(estimate - mean, unit, out=np.full(unit.shape, np.nan), where=known)
        if cut:
            detail = np.clip(detail, -MOST_DETAIL, MOST_DETAIL)
        both = np.isfinite(detail)
        a, b = residual[both], detail[both]
        self.moments += (len(a), a.sum(), b.sum(), a @ a, b @ b, a @ b)

    def _add_levels(self, residual: FloatArray, estimate: FloatArray) -> None:
        if not len(self.levels):
            return
        # values beyond black and white, which no photograph has, belong to the outer parts
        level = np.clip(np.searchsorted(self.edges, estimate, "right") - 1, 0, len(self.levels) - 1)
        for place, weights in enumerate((None, residual, residual**2)):
            self.levels[:, place] += np.bincount(level, weights, len(self.levels))

    def _add_places(self, residual: FloatArray, region: Region) -> None:
        _, height, width = self.shape
        c, h, w = residual.shape
        rows = (np.arange(h) + region.box.y0) * PLACES // height
        cols = (np.arange(w) + region.box.x0) * PLACES // width
        place = np.broadcast_to(rows[:, None] * PLACES + cols, (c, h, w))
        known = np.isfinite(residual)
        for which, weights in enumerate((None, residual[known] ** 2)):
            total = np.bincount(place[known], weights, PLACES**2)
            self.places[..., which] += total.reshape(PLACES, PLACES)

    def figures(self, result: AssessedResult) -> Residual:
        """Make the figures of all that was counted."""
        measured = result.noise is not None
        number, squares = self.places[..., 0].sum(), self.places[..., 1].sum()
        return Residual(
            pixels=self.pixels,
            rms=rounded(math.sqrt(self.square / self.pixels)) if self.pixels else None,
            chi2=rounded(squares / number) if measured and number else None,
            lag1_rows=_ratio(*self.pairs[0]),
            lag1_columns=_ratio(*self.pairs[1]),
            lag1_expected=rounded(result.noise.lag1) if result.noise is not None else None,
            with_estimate=_correlation(self.moments),
            by_level=tuple(_levels(self.edges, self.levels)),
            by_place=_places(self.places, self.shape) if measured else None,
        )


def _ratio(product: float, square: float) -> float | None:
    return rounded(product / square) if square > 0 else None


def _correlation(moments: FloatArray) -> float | None:
    """Pearson's correlation from number, sums, squares and products."""
    n, a, b, aa, bb, ab = moments
    if n < 2:
        return None
    # differences of sums below this are rounding
    spread_a, spread_b = aa - a * a / n, bb - b * b / n
    if spread_a <= 1e-12 * aa or spread_b <= 1e-12 * bb:
        return None
    return rounded((ab - a * b / n) / math.sqrt(spread_a * spread_b))


def _levels(edges: FloatArray, levels: FloatArray) -> list[LevelChi2]:
    return [
        LevelChi2(
            low=rounded(low, 7),
            high=rounded(high, 7),
            pixels=int(number),
            chi2=rounded(squares / number) if number >= FEWEST else None,
            mean=rounded(total / number) if number >= FEWEST else None,
        )
        for low, high, (number, total, squares) in zip(edges[:-1], edges[1:], levels, strict=True)
    ]


def _places(places: FloatArray, shape: tuple[int, int, int]) -> PlaceChi2:
    number = places[..., 0]
    chi2 = np.where(number >= FEWEST, places[..., 1] / np.maximum(number, 1), np.nan)
    known = np.isfinite(chi2)
    highest = None
    if known.any():
        row, col = np.unravel_index(int(np.nanargmax(chi2)), chi2.shape)
        highest = (-(-int(row) * shape[1] // PLACES), -(-int(col) * shape[2] // PLACES))
    spread: Sequence[float] = (
        np.percentile(chi2[known], [0, 50, 100]).tolist() if known.any() else [math.nan] * 3
    )
    low, median, high = (rounded(value) for value in spread)
    parts = tuple(tuple(rounded(float(value)) for value in row) for row in chi2)
    return PlaceChi2(low, median, high, highest, parts)
