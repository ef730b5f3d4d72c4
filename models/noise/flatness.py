"""Noise as the flattest parts of an image show it.

Content is somewhere, noise is everywhere: small squares of pixels are sorted by how flat they are, and
the noise is read from the flattest. So that the choice does not bias what is read, a square is judged
by the low orders of its cosine spectrum and measured in the others. After Ponomarenko et al. 2007 and
Colom & Buades 2013 (doi 10.5201/ipol.2013.45); figures in docs/design/004-noise-estimation.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from glassplate.models.spectra import FloatArray, Sample, Spectra, square_spectra

# Sides of the squares, pixels: where noise is white its upper orders tell all, and small squares are
# flat more often; where it is correlated the low orders hold most of it, and large squares show more
# of them.
SMALL, LARGE = 8, 16
# Order i + j of the cosine transform below which a small square is judged, and from which its noise is
# measured: of the pairs tried this has the least error, 1.5 % of sigma in the mean (design note 004).
JUDGED, MEASURED = 7, 9
# The same where noise is correlated, and where whiteness is read; all orders from here are measured.
LOWEST = 5
# Share of the squares in which the correlation is read, the most that is wanted, the least that will do.
LAG_SHARE, LAG_WANTED, LAG_LEAST = 0.02, 500, 10


@dataclass(frozen=True)
class Flats:
    """Squares of an image that are wholly valid and not constant, ``n`` of them."""

    level: FloatArray
    """``(n,)`` mean value, source units."""
    rough: FloatArray
    """``(n,)`` structure, squared source units: about `power` where there is noise alone."""
    power: FloatArray
    """``(n,)`` variance of the noise if the square is flat, squared source units."""
    freedom: float
    """Independent numbers that a square adds to a mean of `power`."""

    def __len__(self) -> int:
        return len(self.level)

    def take(self, index: npt.NDArray[Any]) -> Flats:
        """Keep the squares of an index or boolean array."""
        return Flats(self.level[index], self.rough[index], self.power[index], self.freedom)

    def flattest(self, count: int) -> Flats:
        """Keep the `count` squares with the least structure."""
        return self.take(np.argsort(self.rough, kind="stable")[:count])


@dataclass(frozen=True)
class Lag:
    """Correlation of the noise between neighbouring pixels."""

    value: float
    """Autocorrelation at lag 1, mean of both directions."""
    error: float
    """Its standard error; infinite where nothing could be measured."""


def white_flats(samples: Sequence[Sample]) -> tuple[Flats, Lag]:
    """Noise of small squares from their highest orders: sharp, and right where it is white.

    Parameters
    ----------
    samples
        Windows of the image; squares with an invalid pixel in any channel are left out.

    Returns
    -------
    flats
        Squares of each channel; `rough` is shared by the channels of a place.
    lag
        Measured in the calmest squares from the slope of their spectrum, without its low orders,
        which content fills first.
    """
    spectra = square_spectra(samples, SMALL)
    high = spectra.order >= MEASURED
    flats = Flats(
        spectra.level,
        spectra.structure(JUDGED),
        spectra.energy[:, high].mean(1, dtype=np.float64),
        float(high.sum()) * spectra.share,
    )
    return flats, _lag_of_slope(spectra)


def correlated_flats(samples: Sequence[Sample]) -> tuple[Flats, Lag]:
    """Noise of large squares from nearly all orders: right where neighbours share noise.

    The high orders, and differences of neighbours, miss most of a correlated noise. The lowest orders,
    by which flat squares are chosen, are taken to be as strong as the lowest that is measured: exact for
    white noise, 0 to 10 % of sigma too little for noise smoothed by up to a pixel, 30 % for one whose
    correlation falls as slowly as ``0.78 ** distance``.

    Parameters
    ----------
    samples
        Windows of the image; squares with an invalid pixel in any channel are left out.

    Returns
    -------
    flats
        Squares of each channel; `rough` is shared by the channels of a place.
    lag
        Measured in the calmest squares from their whole spectrum.
    """
    spectra = square_spectra(samples, LARGE)
    weight = _completing(spectra.order)
    flats = Flats(
        spectra.level,
        spectra.structure(LOWEST),
        (spectra.energy @ weight.astype(np.float32)).astype(np.float64),
        # of 256 numbers some 100 count where the low orders outweigh the high ones
        100 * spectra.share,
    )
    return flats, _lag_of_spectrum(spectra, weight)


def difference_sigma(samples: Sequence[Sample]) -> float:
    """Noise from neighbours alone, for want of wholly valid squares; 0 where no pair is valid.

    The median absolute value of ``(a - b - c + d) / 2`` over wholly valid 2x2 squares, or, where
    there is none, of ``(a - b) / sqrt(2)`` over valid pairs.
    """
    quads, pairs = [np.zeros(0)], [np.zeros(0)]
    for values, valid in samples:
        x = np.where(valid, values, 0).astype(np.float64)  # (c, h, w)
        down, good = x[:, 1:] - x[:, :-1], valid[:, 1:] & valid[:, :-1]
        quads.append((down[..., 1:] - down[..., :-1])[good[..., 1:] & good[..., :-1]] / 2)
        side = valid[..., 1:] & valid[..., :-1]
        pairs += [down[good] / math.sqrt(2), (x[..., 1:] - x[..., :-1])[side] / math.sqrt(2)]
    for group in (quads, pairs):
        found = np.concatenate(group)
        if found.size:
            # the median absolute value of a normal variable is 0.6745 standard deviations
            return float(np.median(np.abs(found)) / 0.67448975)
    return 0.0


def _completing(order: npt.NDArray[np.int_]) -> FloatArray:
    """Weights of the energies for the mean over all orders, the lowest taken from the next."""
    weight = (order >= LOWEST).astype(np.float64)
    weight[order == LOWEST] += (order < LOWEST).sum() / (order == LOWEST).sum()
    return weight / len(order)


def _calm_count(spectra: Spectra) -> int:
    total = len(spectra.level)
    return max(int(LAG_SHARE * total), min(LAG_WANTED, total // 10))


def _calmest(spectra: Spectra) -> FloatArray | None:
    """Average the spectra of the calmest squares, ``(side * side,)``; None where they are too few."""
    if _calm_count(spectra) < LAG_LEAST:
        return None
    chosen = np.argsort(spectra.structure(LOWEST), kind="stable")[: _calm_count(spectra)]
    mean: FloatArray = spectra.energy[chosen].mean(0, dtype=np.float64)
    return mean


def _lag_of_slope(spectra: Spectra) -> Lag:
    """Fit the spectrum without its low orders by autocorrelations at (0, 1) and (1, 1)."""
    mean = _calmest(spectra)
    if mean is None:
        return Lag(0.0, math.inf)
    measured = spectra.order >= LOWEST
    power = mean[measured]
    wave = np.cos(np.pi * np.arange(spectra.side) / spectra.side)
    along = 2 * np.add.outer(wave, wave).ravel()[measured]
    across = 4 * np.outer(wave, wave).ravel()[measured]
    terms = np.stack([np.ones_like(along), along, across], 1)
    model = np.full_like(power, power.mean())
    for _ in range(5):  # the error of a power is proportional to the power
        solution = np.linalg.lstsq(terms / model[:, None], power / model, rcond=None)[0]
        model = np.maximum(terms @ solution, 0.05 * max(solution[0], power.mean()))
    value = float(solution[1] / solution[0]) if solution[0] > 0 else 0.5
    return Lag(value, _lag_error(spectra))


def _lag_of_spectrum(spectra: Spectra, weight: FloatArray) -> Lag:
    """Sum the whole spectrum against a cosine, which is the autocorrelation at lag 1."""
    mean = _calmest(spectra)
    if mean is None:
        return Lag(0.0, math.inf)
    side = spectra.side
    low = spectra.order < LOWEST
    mean[low] = mean[spectra.order == LOWEST].mean()
    wave = np.cos(np.pi * np.arange(side) / side)
    both = np.add.outer(wave, wave).ravel() / 2
    mirrored = float(mean @ both / mean.sum())
    # the transform continues a square by its mirror image: one in `side` neighbours is the pixel itself
    return Lag((mirrored * side - 1) / (side - 1), _lag_error(spectra))


def _lag_error(spectra: Spectra) -> float:
    """Bound the scatter of the correlation found in white noise, from the pixels that were read."""
    # measured: 0.35 to 0.71 over the root, one to three channels, sides of 64 to 700 pixels
    return 0.7 / math.sqrt(_calm_count(spectra) * spectra.share * spectra.side**2)
