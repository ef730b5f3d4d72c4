"""Noise that was clipped at the ends of the range of values: the variance that it had before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from glassplate.models.noise.flat_squares import Squares
from glassplate.models.noise.spectra import FloatArray, Sample


@dataclass(frozen=True)
class ClippingLimits:
    """Values at which an image was clipped, source units; infinite where it was not."""

    low: float
    high: float

    def distance(self, squares: Squares, sigma: float) -> FloatArray:
        """Distance of each square's level to the nearer limit, in sigmas."""
        return np.minimum(squares.level - self.low, self.high - squares.level) / sigma

    def variance_share(self, squares: Squares, sigma: float) -> FloatArray:
        """Share of each square's noise variance that clipping has left."""
        low, high = (squares.level - self.low) / sigma, (self.high - squares.level) / sigma
        share: FloatArray = np.interp(low, *_CLIPPED) * np.interp(high, *_CLIPPED)
        return share


def _clipped_normal() -> tuple[FloatArray, FloatArray]:
    """Mean and variance of a unit normal variable clipped below 0, for centres from -2 to 6."""
    centre = np.linspace(-2, 6, 201)
    above = np.array([0.5 * (1 + math.erf(c / math.sqrt(2))) for c in centre])
    density = np.exp(-(centre**2) / 2) / math.sqrt(2 * math.pi)
    mean = centre * above + density
    return mean, (centre**2 + 1) * above + centre * density - mean**2


_CLIPPED = _clipped_normal()


def find_limits(samples: Sequence[Sample], sigma: float) -> ClippingLimits:
    """Find the extremes at which values pile up because they were clipped there.

    Counts (whole numbers with a noise of less than two) pile up at 0 without clipping.
    """
    pixels = [values[valid] for values, valid in samples if valid.any()]
    if not pixels or sigma <= 0:
        return ClippingLimits(-math.inf, math.inf)
    step = _step(pixels)
    if sigma < 2 * step:
        return ClippingLimits(-math.inf, math.inf)
    return _piles(pixels, max(0.1 * sigma, step))


def without_clipped(samples: Sequence[Sample]) -> list[Sample]:
    """Mark the values that pile up at an end of the range as invalid, but for zeros.

    Among squares that are chosen for their flatness, those of which a part was clipped would come first:
    correlated noise of 4 levels beside clipped paper was found as 1. Zeros may be counts of few photons.
    """
    pixels = [values[valid] for values, valid in samples if valid.any()]
    if not pixels:
        return list(samples)
    limits = _piles(pixels, _step(pixels))
    low = -math.inf if limits.low == 0 else limits.low
    return [(values, valid & (values > low) & (values < limits.high)) for values, valid in samples]


def _step(pixels: Sequence[FloatArray]) -> float:
    """Least difference between values; 0 where all are the same."""
    steps = np.diff(np.unique(pixels[0]).astype(np.float64))
    return float(steps.min()) if steps.size else 0.0


def _piles(pixels: Sequence[FloatArray], reach: float) -> ClippingLimits:
    """Extremes that are more than twice as frequent as the values up to `reach` beside them."""
    low, high = min(float(p.min()) for p in pixels), max(float(p.max()) for p in pixels)
    reach *= 1.001
    piles = []
    for extreme, side in ((low, 1.0), (high, -1.0)):
        gaps = [side * (p.astype(np.float64) - extreme) for p in pixels]
        pile = sum(int((g == 0).sum()) for g in gaps)
        near = sum(int(((g > 0) & (g <= reach)).sum()) for g in gaps)
        # the last value of an unclipped normal tail is no more frequent than those of the next tenth sigma
        piles.append(pile > 2 * max(near, 8))
    return ClippingLimits(low if piles[0] else -math.inf, high if piles[1] else math.inf)


def correct_clipping(squares: Squares, samples: Sequence[Sample]) -> Squares:
    """Drop the squares that lost over half of their noise to clipping; raise the variance of the others."""
    sigma = math.sqrt(squares.flattest(squares.flat_count).variance.mean())
    limits = find_limits(samples, sigma)
    if math.isinf(limits.low) and math.isinf(limits.high):
        return squares
    for _ in range(4):  # converges to 1 % in 3 on Set9 at sigma 50
        distance = limits.distance(squares, sigma)
        for least in (2.5, 2.0, 1.5, 1.0, 0.5):
            safe = distance > least
            if safe.sum() > max(0.05 * len(squares), 2 * squares.flat_count):
                break
        else:
            return squares
        good = squares.take(safe)
        chosen = good.flattest(good.flat_count)
        sigma = math.sqrt(chosen.variance.mean() / limits.variance_share(chosen, sigma).mean())
    share = limits.variance_share(good, sigma)
    return replace(good, variance=good.variance / share)
