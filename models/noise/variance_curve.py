"""The variance of the noise as a function of brightness, from the variances of flat squares.

The variance is either constant or a line that grows with brightness, as photon noise does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from glassplate.models.noise.flat_squares import Squares
from glassplate.models.noise.spectra import FloatArray

# Edges of the brightness classes as shares of the squares; narrow at the bright end, where squares are few.
CLASS_EDGES = (0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1)
# Share of a brightness class that is measured, and the least number of squares.
CLASS_SHARE, CLASS_LEAST = 0.05, 30
# A class is left out if its flattest squares have this many times more structure than noise.
CLASS_ROUGHEST = 3.0
# Relative error of a class beyond its statistics: 4 to 8 % in Set9 at sigma 25 (design note 004).
CLASS_ERROR = 0.1
# Growth is accepted where the chi2 of the line is smaller than that of a constant by at least the first
# number and by the second times its own chi2, and where the variance grows by the third factor over the
# brightness measured. White noise on Set9: at most 6.4 smaller, with a chi2 of 17 left, which is texture;
# Poisson noise: 9 and more, with 3 left (design note 004).
SIGNIFICANT, BETTER, GROWTH = 8.0, 2.0, 1.5
# Times the variance of the class with the least that the typical one can have. In a scan of the crowded field
# M13 the standard deviation is 3.6 without a bound and 1.4 with this one; in its flattest places it is 1.0.
MOST_TYPICAL = 2.5


@dataclass(frozen=True)
class VarianceLine:
    """Variance ``floor + slope * max(x - pedestal, 0)`` at an expected value x."""

    floor: float
    slope: float = 0.0
    pedestal: float = 0.0

    def variance(self, level: FloatArray) -> FloatArray:
        """Variance at expected values, of the shape of `level`."""
        return self.floor + self.slope * np.maximum(level - self.pedestal, 0)

    def scaled(self, factor: float) -> VarianceLine:
        """Line of `factor` times the variance."""
        return VarianceLine(self.floor * factor, self.slope * factor, self.pedestal)


@dataclass(frozen=True)
class BrightnessClasses:
    """Variance of the noise in ``k`` classes of brightness, darkest first."""

    level: FloatArray
    """``(k,)`` mean value, source units."""
    variance: FloatArray
    """``(k,)`` squared source units."""
    error: FloatArray
    """``(k,)`` relative error of `variance`."""
    share: FloatArray
    """``(k,)`` of all squares, 0 to 1."""


def brightness_classes(squares: Squares) -> BrightnessClasses:
    """Measure the variance of the noise in each class of brightness that has flat squares."""
    order = np.argsort(squares.level, kind="stable")
    rows = []
    for start, stop in pairwise(CLASS_EDGES):
        members = squares.take(order[int(start * len(order)) : int(stop * len(order))])
        if len(members) < CLASS_LEAST // 2:
            continue
        flat = members.flattest(max(int(CLASS_SHARE * len(members)), CLASS_LEAST))
        variance = float(flat.variance.mean())
        roughness = float(flat.structure.mean()) / variance
        if roughness > CLASS_ROUGHEST:
            continue
        statistics = 2 / (squares.freedom * len(flat))
        excess = 0.5 * max(roughness - 1, 0)
        error = math.sqrt(statistics + CLASS_ERROR**2 + excess**2)
        rows.append((flat.level.mean(), variance, error, stop - start))
    return BrightnessClasses(*np.array(rows, dtype=np.float64).reshape(-1, 4).T)


def fit_line(
    classes: BrightnessClasses, columns: npt.ArrayLike, fixed: npt.ArrayLike = 0.0
) -> FloatArray:
    """Fit ``columns @ solution + fixed`` to the variances of the classes by their relative errors.

    Classes far above the line lose their weight: there structure was measured as noise.

    Parameters
    ----------
    classes
        ``k`` of them.
    columns
        ``(m, k)`` or, for one column, ``(k,)``.
    fixed
        ``(k,)`` or a number: the part of the variance that is known.

    Returns
    -------
    ``(m,)``, the solution.
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
        # errors come from the fit: those of the data would favour the classes that came out low
        model = np.maximum(solution @ terms + base, least)
        excess = np.maximum((classes.variance - model) / (classes.error * model), 0)
        trust = 1 / (1 + (excess / 2) ** 2)
    return solution


def growing_line(classes: BrightnessClasses) -> VarianceLine:
    """Fit the best line that does not fall: from 0, from a floor above 0, or from a pedestal."""
    if len(classes.level) < 2:
        return VarianceLine(float(classes.variance.sum()))
    level, light = classes.level, np.maximum(classes.level, 0)
    one = np.ones_like(level)
    proportional = VarianceLine(0.0, max(float(fit_line(classes, light)[0]), 0.0))
    if (light > 0).sum() < 2:
        return constant_line(classes)
    floor, slope = fit_line(classes, [one, light])
    if slope <= 0:
        return constant_line(classes)
    if floor < 0:
        dark = float(level[0])
        start = float(floor + slope * max(dark, 0))
        least = min(float(classes.variance.min()), abs(start))
        free = VarianceLine(max(start, least), float(slope), dark)
    else:
        free = VarianceLine(float(floor), float(slope))
    simple = chi2(classes, proportional) <= chi2(classes, free) + 4
    return proportional if simple else free


def constant_line(classes: BrightnessClasses) -> VarianceLine:
    """Fit a constant variance."""
    return VarianceLine(float(np.average(classes.variance, weights=1 / classes.error**2)))


def typical_variance(classes: BrightnessClasses) -> float:
    """Variance that half of the classes, weighted by their errors, do not reach.

    No more than `MOST_TYPICAL` times the least: most classes of a crowded field have no flat square.
    """
    order = np.argsort(classes.variance, kind="stable")
    weight = np.cumsum(1 / classes.error[order] ** 2)
    middle = int(np.searchsorted(weight, weight[-1] / 2))
    variance = classes.variance[order]
    return float(min(variance[middle], MOST_TYPICAL * variance[0]))


def chi2(classes: BrightnessClasses, line: VarianceLine) -> float:
    """Sum of the squared deviations of the classes from a line, in units of their errors."""
    model = np.maximum(line.variance(classes.level), 1e-3 * classes.variance)
    return float((((classes.variance - model) / (classes.error * model)) ** 2).sum())


def growth_is_significant(classes: BrightnessClasses, line: VarianceLine) -> bool:
    """Whether a line explains the classes clearly better than any constant."""
    if len(classes.level) < 3 or line.slope <= 0:
        return False
    ends = line.variance(classes.level[[0, -1]])
    left = chi2(classes, line)
    gain = chi2(classes, constant_line(classes)) - left
    return bool(gain > max(SIGNIFICANT, BETTER * left) and ends[1] > GROWTH * ends[0])
