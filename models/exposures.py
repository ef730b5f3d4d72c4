"""Several measurements of one scene as one: their inverse-variance weighted mean and its variance.

For independent noise the mean is a sufficient statistic: what a fit to all of them at once would know of the
scene, a fit to their mean knows too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]
NoiseOf = Callable[[FloatArray], FloatArray]
"""Variance of one measurement's noise at expected values, both in the units of the first."""

# Standard deviations from the median at which a pixel is no measurement of the scene.
OUTLIER_SIGMA = 5.0
# Share of the steepest step to a neighbour by which exposures may differ besides, added in squares: seeing
# and the last tenth of a pixel of registration move the slopes of stars. The value of AstroDrizzle's first
# pass (driz_cr_scale), but of eight neighbours: of four, 12 % of seeing makes the peak of a star stand out.
SLOPE = 1.2
# Fewest measurements of a pixel whose median tells which of them is wrong.
FEWEST = 3
# Variance of a median over that of the mean, for normal errors.
MEDIAN_VARIANCE = math.pi / 2
# Least variance of a measurement as a share of the largest at the pixel: none counts alone.
LEAST_VARIANCE = 1e-6
# Half-width of the squares whose means are compared to match two measurements, pixels.
SMOOTH = 2
# Noise of such a mean over that of a pixel, at most: 1/5 where it is white, doubled for what is not.
SMOOTHED_NOISE = 0.4
# Sigma by which such a mean must stand out in both to be compared, and how many such pixels tell a ratio:
# four independent squares.
BRIGHT_SIGMA = 10.0
FEWEST_BRIGHT = 4 * (2 * SMOOTH + 1) ** 2
# Standard errors by which a ratio must differ from 1 to be believed.
RATIO_SIGMA = 3.0


@dataclass(frozen=True)
class Stack:
    """Measurements of the same pixels, in the units of the first; all of shape ``(n, c, h, w)``."""

    values: FloatArray
    valid: BoolArray
    variance: FloatArray
    """Of their noise at one and the same level for all, which no single pixel of them decides."""
    steep: FloatArray
    """``(c, h, w)``: largest difference of the median to one of its eight neighbours."""

    def outliers(self) -> BoolArray:
        """Which are no measurement of the scene: cosmic rays, satellites, bad pixels; ``(n, c, h, w)``.

        Further from the median of all than `OUTLIER_SIGMA`, where `FEWEST` or more are valid.
        """
        count = self.valid.sum(0)  # (c, h, w)
        variance = np.where(self.valid, self.variance, 0)
        middle = np.nan_to_num(median(self.values, self.valid))
        of_median = MEDIAN_VARIANCE * variance.sum(0) / np.maximum(count, 1) ** 2
        apart = np.square(self.values - middle) > self._bound(variance + of_median)
        return np.asarray(self.valid & (count >= FEWEST) & apart)

    def disagree(self, one: int, other: int) -> BoolArray:
        """Where two of them, both valid, differ by more than their noise, ``(c, h, w)``."""
        squares = np.square(self.values[one] - self.values[other])
        apart = squares > self._bound(self.variance[one] + self.variance[other])
        return np.asarray(self.valid[one] & self.valid[other] & apart)

    def _bound(self, variance: FloatArray) -> FloatArray:
        """Largest squared difference that noise of this variance and the slopes explain."""
        return np.asarray(OUTLIER_SIGMA**2 * variance + np.square(SLOPE * self.steep))

    def mean(self, used: BoolArray) -> tuple[FloatArray, BoolArray, FloatArray]:
        """Inverse-variance weighted mean of those used, ``(n, c, h, w)``.

        Returns
        -------
        mean, valid, variance
            Each ``(c, h, w)``; 0, False and 0 where none is used.
        """
        largest = self.variance.max(0)
        floor = np.where(largest > 0, LEAST_VARIANCE * largest, 1)
        weight = np.where(used, 1 / np.maximum(self.variance, floor), 0)
        total = weight.sum(0)
        valid = np.asarray(used.any(0))
        safe = np.where(valid, total, 1)
        mean = np.where(used, weight * self.values, 0).sum(0) / safe
        return mean, valid, np.where(valid & (largest > 0), 1 / safe, 0)


def stack(
    values: FloatArray, valid: BoolArray, noises: Sequence[NoiseOf | None], given: FloatArray | None
) -> Stack:
    """Measurements with their noise at the level that their neighbours tell.

    The level of a pixel is the mean of the median measurement over its eight neighbours: weights that
    followed the pixel's own value would favour what is low, and bias the flux.

    Parameters
    ----------
    values, valid
        ``(n, c, h, w)``, units of the first; values are finite.
    noises
        Noise model of each; None where its variance is given.
    given
        ``(c, h, w)``: the variance of those without a noise model.
    """
    middle = median(values, valid)  # (c, h, w)
    level = surroundings(middle)
    variance = np.stack([given if noise is None else noise(level) for noise in noises])  # type: ignore[misc]
    return Stack(values, valid, variance, steepness(middle))


def median(values: FloatArray, valid: BoolArray) -> FloatArray:
    """Median over the first axis of what is valid; NaN where nothing is."""
    ordered = np.sort(np.where(valid, values, np.nan), axis=0)  # NaN last
    count = valid.sum(0)
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    high = np.minimum(high, len(values) - 1)
    both = [np.take_along_axis(ordered, place[None], 0)[0] for place in (low, high)]
    return np.asarray(np.where(count > 0, (both[0] + both[1]) / 2, np.nan))


def _neighbours(values: FloatArray, reach: int) -> list[FloatArray]:
    """The image moved by up to `reach` pixels along both axes, NaN where it has none; the middle first."""
    h, w = values.shape[-2:]
    border = [(0, 0)] * (values.ndim - 2) + [(reach, reach)] * 2
    wide = np.pad(values, border, constant_values=np.nan)
    moves = [(dy, dx) for dy in range(2 * reach + 1) for dx in range(2 * reach + 1)]
    moves.sort(key=lambda move: move != (reach, reach))
    return [wide[..., dy : dy + h, dx : dx + w] for dy, dx in moves]


def _mean(pieces: Sequence[FloatArray]) -> FloatArray:
    """Mean of what is finite; NaN where nothing is."""
    total, count = np.zeros(pieces[0].shape), np.zeros(pieces[0].shape)
    for piece in pieces:
        known = np.isfinite(piece)
        total += np.where(known, piece, 0)
        count += known
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def surroundings(values: FloatArray) -> FloatArray:
    """Mean of the eight neighbours, ``(c, h, w)``; the value itself where all are NaN, 0 where it is, too."""
    own, *others = _neighbours(values, 1)
    around = _mean(others)
    return np.nan_to_num(np.where(np.isfinite(around), around, own))


def steepness(values: FloatArray) -> FloatArray:
    """Largest absolute difference to one of the eight neighbours; 0 where there is none."""
    own, *others = _neighbours(values, 1)
    steep = np.zeros(values.shape)
    for other in others:
        steep = np.fmax(steep, np.abs(other - own))
    return steep


@dataclass(frozen=True)
class Match:
    """How the values of one measurement become those of another: ``scale * value + offset``."""

    scale: float = 1.0
    offset: float = 0.0
    origin: str = "the first"
    """How it is known."""
    overlap: float = 1.0
    """Share of the bright pixels of the one with fewer of them that are bright in both; 1 where either has
    too few."""


@dataclass(frozen=True)
class Pair:
    """The same pixels of two measurements, ``(c, h, w)`` each."""

    first: FloatArray
    other: FloatArray
    valid: BoolArray
    """Where both are."""


def match(pairs: Sequence[Pair], first_sigma: float, other_sigma: float) -> Match:
    """Level and flux scale of a measurement against the first, from windows of both.

    The levels are the medians. The scale is the median ratio of what stands out from them, up or down, in
    means over 5x5 pixels, which see neither the noise nor much of the seeing; a ratio that does not differ
    from 1 by `RATIO_SIGMA` standard errors is taken for 1.

    Parameters
    ----------
    pairs
        Windows of both.
    first_sigma, other_sigma
        Standard deviation of the noise at the level of each, own units.

    Raises
    ------
    ValueError
        If what is bright in one is dark in the other: they do not show the same scene.
    """
    values = [np.concatenate([getattr(p, name)[p.valid] for p in pairs]) for name in _SIDES]
    if not values[0].size:
        return Match(origin="no pixel in common")
    levels = [float(np.median(one)) for one in values]
    smooth = [
        np.concatenate([_smoothed(getattr(p, name), p.valid)[p.valid] for p in pairs]) - level
        for name, level in zip(_SIDES, levels, strict=True)
    ]
    bounds = [BRIGHT_SIGMA * SMOOTHED_NOISE * sigma for sigma in (first_sigma, other_sigma)]
    each = [np.abs(one) > bound for one, bound in zip(smooth, bounds, strict=True)]
    bright = each[0] & each[1]
    fewer = min(int(one.sum()) for one in each)
    overlap = float(bright.sum() / fewer) if fewer >= FEWEST_BRIGHT else 1.0
    if bright.sum() < FEWEST_BRIGHT:
        origin = "levels alone: too few bright pixels"
        return Match(1.0, levels[0] - levels[1], origin, overlap)
    ratios = smooth[0][bright] / smooth[1][bright]
    scale = float(np.median(ratios))
    if scale <= 0:
        raise ValueError(f"flux scale {scale:.3g}")
    spread = 1.4826 * float(np.median(np.abs(ratios - scale)))
    error = math.sqrt(MEDIAN_VARIANCE / (ratios.size / (2 * SMOOTH + 1) ** 2)) * spread
    if abs(scale - 1) <= RATIO_SIGMA * error:
        scale = 1.0
    origin = f"{ratios.size} bright pixels"
    return Match(scale, levels[0] - scale * levels[1], origin, overlap)


_SIDES = ("first", "other")


def _smoothed(values: FloatArray, valid: BoolArray) -> FloatArray:
    return _mean(_neighbours(np.where(valid, values, np.nan), SMOOTH))
