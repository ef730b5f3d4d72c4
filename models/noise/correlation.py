"""The correlation of the noise of neighbouring pixels, from the mean spectrum of the flattest squares."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from glassplate.models.noise.spectra import FloatArray, Spectra, flattest

# Flatness is judged by the orders below this one; the correlation is read in this one and those above.
LOWEST_ORDER = 5
# Share of the squares in which the correlation is read, the most that is wanted, the least that suffices.
FLAT_SHARE, FLAT_WANTED, FLAT_LEAST = 0.02, 500, 10


@dataclass(frozen=True)
class Correlation:
    """Correlation of the noise between neighbouring pixels."""

    lag1: float
    """Autocorrelation at lag 1, mean of both directions."""
    error: float
    """Its standard error; infinite where nothing could be measured."""


def correlation_from_high_orders(spectra: Spectra) -> Correlation:
    """Fit autocorrelations at (0, 1) and (1, 1) to the orders from `LOWEST_ORDER` on."""
    mean = _mean_of_flattest(spectra)
    if mean is None:
        return Correlation(0.0, math.inf)
    measured = spectra.order >= LOWEST_ORDER
    power = mean[measured]
    wave = np.cos(np.pi * np.arange(spectra.side) / spectra.side)
    along_axes = 2 * np.add.outer(wave, wave).ravel()[measured]
    diagonal = 4 * np.outer(wave, wave).ravel()[measured]
    terms = np.stack([np.ones_like(along_axes), along_axes, diagonal], 1)
    model = np.full_like(power, power.mean())
    for _ in range(5):  # the error of a power is proportional to the power
        solution = np.linalg.lstsq(terms / model[:, None], power / model, rcond=None)[0]
        model = np.maximum(terms @ solution, 0.05 * max(solution[0], power.mean()))
    lag1 = float(solution[1] / solution[0]) if solution[0] > 0 else 0.5
    return Correlation(lag1, _standard_error(spectra))


def lag1_from_spectrum(spectrum: FloatArray) -> float:
    """Sum a noise spectrum times a cosine, which gives the autocorrelation at lag 1.

    `spectrum` is the power of each cosine coefficient, ``(side * side,)``.
    """
    side = math.isqrt(len(spectrum))
    wave = np.cos(np.pi * np.arange(side) / side)
    both_axes = np.add.outer(wave, wave).ravel() / 2
    mirrored = float(spectrum @ both_axes / spectrum.sum())
    # the transform continues a square by its mirror image: one in `side` neighbours is the pixel itself
    return (mirrored * side - 1) / (side - 1)


def _flat_count(spectra: Spectra) -> int:
    total = len(spectra.level)
    return max(int(FLAT_SHARE * total), min(FLAT_WANTED, total // 10))


def _mean_of_flattest(spectra: Spectra) -> FloatArray | None:
    """Average the spectra of the flattest squares, ``(side * side,)``; None where they are too few."""
    if _flat_count(spectra) < FLAT_LEAST:
        return None
    structure = spectra.structure(LOWEST_ORDER)
    chosen = flattest(structure, _flat_count(spectra))
    mean: FloatArray = spectra.energy[chosen].mean(0, dtype=np.float64)
    return mean


def _standard_error(spectra: Spectra) -> float:
    """Bound the scatter of the correlation of white noise by the number of pixels that were read."""
    # measured: 0.35 to 0.71 over the root, with one to three channels and sides of 64 to 700 pixels
    return 0.7 / math.sqrt(_flat_count(spectra) * spectra.new_share * spectra.side**2)
