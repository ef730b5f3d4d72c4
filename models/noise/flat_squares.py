"""The noise variance of each small square of an image, from the high orders of its cosine spectrum.

Content is in some places and noise is everywhere, so the noise is read in the flattest squares. A square
counts as flat by the low orders of its spectrum, and its noise is measured in the other orders: the choice
then does not bias the measurement. After Ponomarenko et al. 2007 and Colom & Buades 2013
(doi 10.5201/ipol.2013.45); figures in docs/design/004-noise-estimation.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from glassplate.models.noise.correlation import (
    Correlation,
    correlation_from_high_orders,
    lag1_from_spectrum,
)
from glassplate.models.noise.noise_spectrum import (
    LOWEST_RADIUS,
    checkerboard,
    flatness,
    noise_spectrum,
    power_by_frequency,
    radius_of,
)
from glassplate.models.noise.spectra import FloatArray, Sample, flattest, square_spectra

# Side of the squares, pixels. Small ones are flat more often: on photographs with noise smoothed by up to 2
# pixels, squares of 16 find 1.0 to 4.9 times its sigma, of 8 0.8 to 1.7 (design note 018).
SIDE = 8
# Flatness of a small square is judged below the first order, its noise is measured from the second on. Of the
# pairs tried these have the least error, 1.5 % of sigma in the mean (design note 004).
JUDGED_BELOW, MEASURED_FROM = 7, 9
# Share of the flattest squares that gives the first estimate; in small images this many, or a tenth of all.
FLAT_SHARE, FLAT_WANTED = 0.01, 200
# Fewest squares from which a noise is estimated.
FEWEST_SQUARES = 8


@dataclass(frozen=True)
class Squares:
    """``n`` squares of an image, with the noise that each shows if it is flat."""

    level: FloatArray
    """``(n,)`` mean value, source units."""
    structure: FloatArray
    """``(n,)`` energy in the low orders, squared source units; about `variance` where there is only noise."""
    variance: FloatArray
    """``(n,)`` variance of the noise if the square is flat, squared source units."""
    channel: npt.NDArray[np.int_]
    """``(n,)`` number of the square's channel."""
    freedom: float
    """Independent numbers that each square adds to a mean of `variance`."""

    def __len__(self) -> int:
        return len(self.level)

    def take(self, index: npt.NDArray[Any]) -> Squares:
        """Keep the squares of an index or boolean array."""
        return replace(
            self,
            level=self.level[index],
            structure=self.structure[index],
            variance=self.variance[index],
            channel=self.channel[index],
        )

    def in_units_of(self, shares: Sequence[float]) -> Squares:
        """Divide each square's variance by the share of its channel."""
        return replace(self, variance=self.variance / np.asarray(shares)[self.channel])

    def flattest(self, count: int) -> Squares:
        """Keep the `count` squares with the least structure."""
        return self.take(flattest(self.structure, count))

    def all_flat(self) -> Squares:
        """Keep the flattest squares and all others with no more structure than these have noise."""
        first = float(self.flattest(self.flat_count).variance.mean())
        flat = int((self.structure <= first).sum())
        return self.flattest(max(self.flat_count, flat))

    @property
    def flat_count(self) -> int:
        """Number of the flattest squares that give the first estimate."""
        total = len(self)
        wanted = min(FLAT_WANTED, total // 10)
        return max(int(FLAT_SHARE * total), wanted, min(FEWEST_SQUARES, total))


def measure_white(samples: Sequence[Sample]) -> tuple[Squares, Correlation]:
    """Measure noise in the high orders of small squares: precise, and right where the noise is white.

    Parameters
    ----------
    samples
        Windows of the image; squares with an invalid pixel in any channel are left out.

    Returns
    -------
    squares
        Squares of each channel; the channels of a place share their `structure`.
    correlation
        From the slope of the spectrum of the flattest squares. The low orders, which content fills first,
        are left out.
    """
    spectra = square_spectra(samples, SIDE)
    high = spectra.order >= MEASURED_FROM
    squares = Squares(
        spectra.level,
        spectra.structure(JUDGED_BELOW),
        spectra.energy[:, high].mean(1, dtype=np.float64),
        spectra.channel,
        float(high.sum()) * spectra.new_share,
    )
    return squares, correlation_from_high_orders(spectra)


@dataclass(frozen=True)
class CorrelatedNoise:
    """Noise as flat squares show it at nearly all frequencies."""

    squares: Squares
    """Squares of each channel, twice, once for each half; the channels of a place share their `structure`."""
    lag1: float
    """Autocorrelation between direct neighbours, from the whole spectrum of the flattest squares."""
    grain: float
    """Side of the square that holds one independent value, pixels; 1 for white noise."""
    variance: float
    """Variance of the noise, squared source units; 0 with fewer than `FEWEST_SQUARES`."""
    even: bool
    """Whether places that are stronger than others were taken for outliers."""
    power: tuple[float, ...] = ()
    """Its power at each of the `FREQUENCIES` of a spectrum, over that of white noise of its variance."""


def measure_correlated(
    samples: Sequence[Sample], side: int = SIDE, even_above: float = math.inf
) -> CorrelatedNoise:
    """Measure noise in nearly all frequencies of small squares: right where the noise is correlated.

    The high orders miss most of a correlated noise, and the low ones are those of content too. So a square
    counts as flat by half of its coefficients, each in units of the noise's own spectrum, and its noise is
    measured in the other half; then the halves change places. The spectrum is that of the flattest squares,
    and so are the squares by the spectrum: a few rounds find both. What is below `LOWEST_RADIUS` is assumed
    to be as strong as what lies around it.

    Parameters
    ----------
    samples
        Windows of the image; squares with an invalid pixel in any channel are left out.
    side
        Of the squares, pixels.
    even_above
        Power of the highest frequencies, squared source units, above which noise is taken for as strong in
        all flat places and independent between channels, so that other places are outliers. Below it, JPEG
        may have taken more from some flat places than from others.
    """
    spectra = square_spectra(samples, side)
    places = spectra.mean_over_channels()
    if len(places) < FEWEST_SQUARES:
        nothing = np.zeros(0)
        none = Squares(nothing, nothing, nothing, np.zeros(0, np.int_), 1.0)
        return CorrelatedNoise(none, 0.0, 1.0, 0.0, False)
    spectrum = noise_spectrum(places)
    even = bool(spectrum[radius_of(side) >= side].mean() > even_above)
    if even:
        spectrum = noise_spectrum(places, len(samples[0][0]))
    level = spectrum.mean()
    structures, variances = [], []
    for half in checkerboard(side):
        score = flatness(places, spectrum, half)
        structures.append(level * score[spectra.place])
        other = ~half & (radius_of(side) >= LOWEST_RADIUS)
        share = spectra.energy[:, other] / spectrum[other].astype(np.float32)
        variances.append(level * share.mean(1, dtype=np.float64))
    squares = Squares(
        np.tile(spectra.level, 2),
        np.concatenate(structures),
        np.concatenate(variances),
        np.tile(spectra.channel, 2),
        side**2 / 2 * spectra.new_share,
    )
    lowest = float(spectrum[radius_of(side) < LOWEST_RADIUS].mean())
    # white noise averages out with the area, so the power at frequency 0 is that of the area of one grain
    return CorrelatedNoise(
        squares,
        lag1_from_spectrum(spectrum),
        math.sqrt(max(lowest / level, 1.0)),
        float(level) if even else constant_variance(squares),
        even,
        power_by_frequency(spectrum),
    )


def constant_variance(squares: Squares) -> float:
    """Mean variance of the flattest squares and of all others with no more structure than noise."""
    return float(squares.all_flat().variance.mean())
