"""Several exposures of one scene combined into one: their inverse-variance weighted mean and its variance.

For independent noise the mean is a sufficient statistic: a fit to the mean knows as much about the scene as a
fit to all exposures at once.
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
"""Variance of one exposure's noise at expected values, both in the units of the first exposure."""

# Standard deviations from the median beyond which a pixel does not measure the scene.
OUTLIER_SIGMA = 5.0
# Exposures may also differ by this share of the largest step to a neighbour, added in squares: seeing and
# registration errors of a tenth of a pixel move the slopes of stars. The value is that of the first pass of
# AstroDrizzle (driz_cr_scale), but for eight neighbours: with four, a seeing 12 % different makes the peak of
# a star an outlier.
STEP_SHARE = 1.2
# Fewest exposures of a pixel whose median tells which of them is wrong.
FEWEST = 3
# Variance of a median over that of the mean, for normal errors.
MEDIAN_VARIANCE = math.pi / 2
# Least variance of an exposure as a share of the largest at the pixel, so that none counts alone.
LEAST_VARIANCE = 1e-6
# Half-width, in pixels, of the squares whose means are compared to match two exposures.
HALF_WIDTH = 2
# Upper bound of the noise of such a mean over that of a pixel: 1/5 for white noise, doubled for correlated.
SMOOTHED_NOISE = 0.4
# Sigmas by which such a mean must stand out in both exposures to be compared, and the fewest such pixels that
# give a ratio: those of four independent squares.
BRIGHT_SIGMA = 10.0
FEWEST_BRIGHT = 4 * (2 * HALF_WIDTH + 1) ** 2
# Standard errors by which a ratio must differ from 1; otherwise it is taken as 1.
RATIO_SIGMA = 3.0


@dataclass(frozen=True)
class Exposures:
    """Several exposures of the same pixels, ``(n, c, h, w)``, in the units of the first."""

    values: FloatArray
    valid: BoolArray
    variance: FloatArray
    """Variance of the noise at a level that is the same for all and does not depend on the pixel itself."""
    largest_step: FloatArray
    """``(c, h, w)``: largest difference of the median to one of its eight neighbours."""

    def outliers(self) -> BoolArray:
        """Find pixels that do not measure the scene: cosmic rays, satellites, bad pixels; ``(n, c, h, w)``.

        They are more than `OUTLIER_SIGMA` from the median of at least `FEWEST` valid exposures.
        """
        count = self.valid.sum(0)  # (c, h, w)
        variance = np.where(self.valid, self.variance, 0)
        middle = np.nan_to_num(median(self.values, self.valid))
        of_median = MEDIAN_VARIANCE * variance.sum(0) / np.maximum(count, 1) ** 2
        apart = np.square(self.values - middle) > self._bound(variance + of_median)
        return np.asarray(self.valid & (count >= FEWEST) & apart)

    def disagree(self, one: int, other: int) -> BoolArray:
        """Find where two exposures, both valid, differ by more than their noise, ``(c, h, w)``."""
        squares = np.square(self.values[one] - self.values[other])
        apart = squares > self._bound(self.variance[one] + self.variance[other])
        return np.asarray(self.valid[one] & self.valid[other] & apart)

    def _bound(self, variance: FloatArray) -> FloatArray:
        """Largest squared difference that noise of this variance and the steps between neighbours explain."""
        return np.asarray(OUTLIER_SIGMA**2 * variance + np.square(STEP_SHARE * self.largest_step))

    def mean(self, used: BoolArray) -> tuple[FloatArray, BoolArray, FloatArray]:
        """Inverse-variance weighted mean of the pixels that are `used`, ``(n, c, h, w)``.

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


def with_noise(
    values: FloatArray, valid: BoolArray, noises: Sequence[NoiseOf | None], given: FloatArray | None
) -> Exposures:
    """Add to exposures the variance of their noise.

    It is taken at the mean of the pixel's eight neighbours in the median exposure: weights that followed the
    pixel's own value would favour low values and bias the flux.

    Parameters
    ----------
    values, valid
        ``(n, c, h, w)``, units of the first exposure; values are finite.
    noises
        Noise of each exposure; None where its variance is `given`.
    given
        ``(c, h, w)``: the variance of the exposures without a noise model.
    """
    middle = median(values, valid)  # (c, h, w)
    level = neighbour_mean(middle)
    variance = np.stack([given if noise is None else noise(level) for noise in noises])  # type: ignore[misc]
    return Exposures(values, valid, variance, largest_step(middle))


def median(values: FloatArray, valid: BoolArray) -> FloatArray:
    """Median of the valid values over the first axis; NaN where there is none."""
    ordered = np.sort(np.where(valid, values, np.nan), axis=0)  # NaN last
    count = valid.sum(0)
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    high = np.minimum(high, len(values) - 1)
    both = [np.take_along_axis(ordered, place[None], 0)[0] for place in (low, high)]
    return np.asarray(np.where(count > 0, (both[0] + both[1]) / 2, np.nan))


def _shifted(values: FloatArray, reach: int) -> list[FloatArray]:
    """The image shifted by up to `reach` pixels along both axes, NaN beyond its border; unshifted first."""
    h, w = values.shape[-2:]
    border = [(0, 0)] * (values.ndim - 2) + [(reach, reach)] * 2
    wide = np.pad(values, border, constant_values=np.nan)
    shifts = [(dy, dx) for dy in range(2 * reach + 1) for dx in range(2 * reach + 1)]
    shifts.sort(key=lambda shift: shift != (reach, reach))
    return [wide[..., dy : dy + h, dx : dx + w] for dy, dx in shifts]


def _finite_mean(images: Sequence[FloatArray]) -> FloatArray:
    """Mean of the finite values of each pixel; NaN where there is none."""
    total, count = np.zeros(images[0].shape), np.zeros(images[0].shape)
    for image in images:
        known = np.isfinite(image)
        total += np.where(known, image, 0)
        count += known
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def neighbour_mean(values: FloatArray) -> FloatArray:
    """Mean of the eight neighbours, ``(c, h, w)``; where all are NaN the value itself, or 0 if it is NaN."""
    own, *others = _shifted(values, 1)
    around = _finite_mean(others)
    return np.nan_to_num(np.where(np.isfinite(around), around, own))


def largest_step(values: FloatArray) -> FloatArray:
    """Largest absolute difference to one of the eight neighbours; 0 where all are NaN."""
    own, *others = _shifted(values, 1)
    step = np.zeros(values.shape)
    for other in others:
        step = np.fmax(step, np.abs(other - own))
    return step


@dataclass(frozen=True)
class Match:
    """Conversion of an exposure's values to those of the first: ``scale * value + offset``."""

    scale: float = 1.0
    offset: float = 0.0
    origin: str = "the first"
    """How scale and offset were found."""
    overlap: float = 1.0
    """Share of the bright pixels of the exposure with fewer of them that are bright in both; 1 where either
    has too few."""


@dataclass(frozen=True)
class Pair:
    """The same pixels of two exposures, ``(c, h, w)`` each."""

    first: FloatArray
    other: FloatArray
    valid: BoolArray
    """Where both are valid."""


def match_exposure(pairs: Sequence[Pair], first_sigma: float, other_sigma: float) -> Match:
    """Find the level and flux scale of an exposure relative to the first, from windows of both.

    The levels are the medians. The scale is the median ratio of the bright pixels' differences from the
    levels, up or down, in means over 5x5 pixels, which are little affected by noise and seeing. A ratio that
    differs from 1 by less than `RATIO_SIGMA` standard errors is taken as 1.

    Parameters
    ----------
    pairs
        Windows of both.
    first_sigma, other_sigma
        Standard deviation of the noise at the level of each exposure, in its own units.

    Raises
    ------
    ValueError
        If bright pixels of one are dark in the other: the exposures do not show the same scene.
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
    error = math.sqrt(MEDIAN_VARIANCE / (ratios.size / (2 * HALF_WIDTH + 1) ** 2)) * spread
    if abs(scale - 1) <= RATIO_SIGMA * error:
        scale = 1.0
    origin = f"{ratios.size} bright pixels"
    return Match(scale, levels[0] - scale * levels[1], origin, overlap)


_SIDES = ("first", "other")


def _smoothed(values: FloatArray, valid: BoolArray) -> FloatArray:
    return _finite_mean(_shifted(np.where(valid, values, np.nan), HALF_WIDTH))
