"""From flat squares to the variance of the noise, constant or growing with brightness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from glassplate.models.noise.flatness import Flats
from glassplate.models.spectra import FloatArray, Sample

# Share of the flattest squares that gives the first estimate; in small images this many, or a tenth.
FLAT_SHARE, FLAT_WANTED = 0.01, 200
# Fewest squares from which anything is read.
FEWEST = 8
# Edges of the brightness classes, shares of the squares; fine at the bright end, where there are few.
CLASS_EDGES = (0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1)
# Share of a brightness class that is measured, and the least number.
CLASS_SHARE, CLASS_LEAST = 0.05, 30
# A class whose flattest squares have this many times more structure than noise says nothing.
CLASS_ROUGHEST = 3.0
# Relative error of a class beyond its statistics: 4 to 8 % in Set9 at sigma 25 (design note 004).
CLASS_ERROR = 0.1
# Growth is believed where the line explains the classes better than a constant by this much chi2, by this
# many times the chi2 that it leaves, and where the variance grows by this factor over the brightness
# measured. White noise on Set9: at most 6.4 better, and there 17 left, which is texture; Poisson noise 9
# and more with 3 left (design note 004).
SIGNIFICANT, BETTER, GROWTH = 8.0, 2.0, 1.5


@dataclass(frozen=True)
class Line:
    """Variance ``floor + slope * max(x - pedestal, 0)``."""

    floor: float
    slope: float = 0.0
    pedestal: float = 0.0


@dataclass(frozen=True)
class Classes:
    """Variance of the noise in classes of brightness, ``k`` of them, darkest first."""

    level: FloatArray
    """``(k,)`` mean value, source units."""
    variance: FloatArray
    """``(k,)`` squared source units."""
    error: FloatArray
    """``(k,)`` relative error of `variance`."""


@dataclass(frozen=True)
class Limits:
    """Where values were cut off; infinite where they were not."""

    low: float
    high: float

    def distance(self, flats: Flats, sigma: float) -> FloatArray:
        """From the nearer limit to each square's level, in sigmas."""
        return np.minimum(flats.level - self.low, self.high - flats.level) / sigma

    def kept_share(self, flats: Flats, sigma: float) -> FloatArray:
        """Share of each square's noise variance that survived the cut."""
        low, high = (flats.level - self.low) / sigma, (self.high - flats.level) / sigma
        share: FloatArray = np.interp(low, *_CUT) * np.interp(high, *_CUT)
        return share


def _cut_normal() -> tuple[FloatArray, FloatArray]:
    """Mean and variance of a unit normal variable cut off below 0, for centres from -2 to 6."""
    centre = np.linspace(-2, 6, 201)
    above = np.array([0.5 * (1 + math.erf(c / math.sqrt(2))) for c in centre])
    density = np.exp(-(centre**2) / 2) / math.sqrt(2 * math.pi)
    mean = centre * above + density
    return mean, (centre**2 + 1) * above + centre * density - mean**2


_CUT = _cut_normal()


def find_limits(samples: Sequence[Sample], sigma: float) -> Limits:
    """Find out whether values pile up at the extremes because they were cut off there.

    Counts (whole numbers with a noise of less than two) pile up at 0 without having been cut.
    """
    pixels = [values[valid] for values, valid in samples if valid.any()]
    if not pixels or sigma <= 0:
        return Limits(-math.inf, math.inf)
    low, high = min(float(p.min()) for p in pixels), max(float(p.max()) for p in pixels)
    steps = np.diff(np.unique(pixels[0]).astype(np.float64))
    step = float(steps.min()) if steps.size else 0.0
    if sigma < 2 * step:
        return Limits(-math.inf, math.inf)
    reach = 1.001 * max(0.1 * sigma, step)
    piles = []
    for extreme, side in ((low, 1.0), (high, -1.0)):
        gaps = [side * (p.astype(np.float64) - extreme) for p in pixels]
        pile = sum(int((g == 0).sum()) for g in gaps)
        near = sum(int(((g > 0) & (g <= reach)).sum()) for g in gaps)
        # an uncut normal tail has at its end no more than the next tenth of a sigma
        piles.append(pile > 2 * max(near, 8))
    return Limits(low if piles[0] else -math.inf, high if piles[1] else math.inf)


def flat_count(total: int) -> int:
    """How many of the flattest squares give the first estimate."""
    return max(int(FLAT_SHARE * total), min(FLAT_WANTED, total // 10), min(FEWEST, total))


def uncut(flats: Flats, samples: Sequence[Sample]) -> Flats:
    """Leave out the squares whose noise was cut off by more than half, and make good the rest."""
    sigma = math.sqrt(flats.flattest(flat_count(len(flats))).power.mean())
    limits = find_limits(samples, sigma)
    if math.isinf(limits.low) and math.isinf(limits.high):
        return flats
    for _ in range(4):  # converges to 1 % in 3 on Set9 at sigma 50
        distance = limits.distance(flats, sigma)
        for least in (2.5, 2.0, 1.5, 1.0, 0.5):
            safe = distance > least
            if safe.sum() > max(0.05 * len(flats), 2 * flat_count(len(flats))):
                break
        else:
            return flats
        good = flats.take(safe)
        chosen = good.flattest(flat_count(len(good)))
        sigma = math.sqrt(chosen.power.mean() / limits.kept_share(chosen, sigma).mean())
    share = limits.kept_share(good, sigma)
    return Flats(good.level, good.rough, good.power / share, good.freedom)


def constant_variance(flats: Flats) -> float:
    """Variance in the flattest squares, enlarged by all that are no rougher than noise alone."""
    count = flat_count(len(flats))
    first = float(flats.flattest(count).power.mean())
    flat = int((flats.rough <= first).sum())
    return float(flats.flattest(max(count, flat)).power.mean())


def brightness_classes(flats: Flats) -> Classes:
    """Variance of the noise in each class of brightness that has flat squares."""
    order = np.argsort(flats.level, kind="stable")
    rows = []
    for start, stop in pairwise(CLASS_EDGES):
        members = flats.take(order[int(start * len(order)) : int(stop * len(order))])
        if len(members) < CLASS_LEAST // 2:
            continue
        flat = members.flattest(max(int(CLASS_SHARE * len(members)), CLASS_LEAST))
        power = float(flat.power.mean())
        roughness = float(flat.rough.mean()) / power
        if roughness > CLASS_ROUGHEST:
            continue
        noise = 2 / (flats.freedom * len(flat))
        excess = 0.5 * max(roughness - 1, 0)
        rows.append((flat.level.mean(), power, math.sqrt(noise + CLASS_ERROR**2 + excess**2)))
    level, variance, error = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    return Classes(level, variance, error)


def fit_line(classes: Classes, columns: npt.ArrayLike, fixed: npt.ArrayLike = 0.0) -> FloatArray:
    """Fit ``columns @ solution + fixed`` to the variances, each with its relative error.

    Classes far above the line, where structure passes for noise, lose their weight.
    """
    terms = np.atleast_2d(np.asarray(columns, dtype=np.float64))  # (m, k)
    base = np.broadcast_to(np.asarray(fixed, dtype=np.float64), classes.variance.shape)
    least = 0.1 * float(classes.variance.min(initial=np.inf))
    model: FloatArray = classes.variance
    trust: FloatArray = np.ones_like(model)
    solution: FloatArray = np.zeros(len(terms))
    for _ in range(20):
        weight = trust / (classes.error * model)
        target = (classes.variance - base) * weight
        solution = np.asarray(
            np.linalg.lstsq((terms * weight).T, target, rcond=None)[0], np.float64
        )
        # errors by the fit: those of the data would favour what came out low
        model = np.maximum(solution @ terms + base, least)
        excess = np.maximum((classes.variance - model) / (classes.error * model), 0)
        trust = 1 / (1 + (excess / 2) ** 2)
    return solution


def growing_variance(classes: Classes) -> Line:
    """Fit the best line that does not fall, starting at 0, above it, or from a pedestal."""
    if len(classes.level) < 2:
        return Line(float(classes.variance.sum()))
    level, lit = classes.level, np.maximum(classes.level, 0)
    one = np.ones_like(level)
    proportional = Line(0.0, max(float(fit_line(classes, lit)[0]), 0.0))
    if (lit > 0).sum() < 2:
        return level_line(classes)
    floor, slope = fit_line(classes, [one, lit])
    if slope <= 0:
        return level_line(classes)
    if floor < 0:
        dark = float(level[0])
        start = float(floor + slope * max(dark, 0))
        least = min(float(classes.variance.min()), abs(start))
        free = Line(max(start, least), float(slope), dark)
    else:
        free = Line(float(floor), float(slope))
    simple = chi2(classes, proportional) <= chi2(classes, free) + 4
    return proportional if simple else free


def level_line(classes: Classes) -> Line:
    """Fit a constant."""
    return Line(float(np.average(classes.variance, weights=1 / classes.error**2)))


def chi2(classes: Classes, line: Line) -> float:
    """Sum of the squared deviations of the classes from a line, in their errors."""
    model = line.floor + line.slope * np.maximum(classes.level - line.pedestal, 0)
    model = np.maximum(model, 1e-3 * classes.variance)
    return float((((classes.variance - model) / (classes.error * model)) ** 2).sum())


def grows(classes: Classes, line: Line) -> bool:
    """Whether a line explains the classes clearly better than any constant."""
    if len(classes.level) < 3 or line.slope <= 0:
        return False
    ends = line.floor + line.slope * np.maximum(classes.level[[0, -1]] - line.pedestal, 0)
    left = chi2(classes, line)
    gain = chi2(classes, level_line(classes)) - left
    return bool(gain > max(SIGNIFICANT, BETTER * left) and ends[1] > GROWTH * ends[0])
