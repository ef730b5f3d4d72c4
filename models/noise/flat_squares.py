"""The noise variance of each small square of an image, from the high orders of its cosine spectrum.

Content is in some places and noise is everywhere, so the noise is read in the flattest squares. A square
counts as flat by the low orders of its spectrum, and its noise is measured in the other orders: the choice
then does not bias the measurement. After Ponomarenko et al. 2007 and Colom & Buades 2013
(doi 10.5201/ipol.2013.45); figures in docs/design/004-noise-estimation.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from glassplate.models.noise.correlation import (
    LOWEST_ORDER,
    Correlation,
    correlation_from_all_orders,
    correlation_from_high_orders,
)
from glassplate.models.noise.spectra import FloatArray, Sample, square_spectra

# Sides of the squares, pixels. White noise is told by the high orders alone, and small squares are flat more
# often; most of a correlated noise is in the low orders, of which large squares show more.
SMALL_SIDE, LARGE_SIDE = 8, 16
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
    freedom: float
    """Independent numbers that each square adds to a mean of `variance`."""

    def __len__(self) -> int:
        return len(self.level)

    def take(self, index: npt.NDArray[Any]) -> Squares:
        """Keep the squares of an index or boolean array."""
        return Squares(self.level[index], self.structure[index], self.variance[index], self.freedom)

    def flattest(self, count: int) -> Squares:
        """Keep the `count` squares with the least structure."""
        return self.take(np.argsort(self.structure, kind="stable")[:count])

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
    spectra = square_spectra(samples, SMALL_SIDE)
    high = spectra.order >= MEASURED_FROM
    squares = Squares(
        spectra.level,
        spectra.structure(JUDGED_BELOW),
        spectra.energy[:, high].mean(1, dtype=np.float64),
        float(high.sum()) * spectra.new_share,
    )
    return squares, correlation_from_high_orders(spectra)


def measure_correlated(samples: Sequence[Sample]) -> tuple[Squares, Correlation]:
    """Measure noise in nearly all orders of large squares: right where the noise is correlated.

    The high orders, and differences of neighbours, miss most of a correlated noise. The lowest orders, by
    which flat squares are chosen, are assumed to be as strong as the lowest one that is measured. This is
    exact for white noise. It gives a sigma that is 0 to 10 % too small for noise smoothed by up to a pixel,
    and 30 % too small for noise whose correlation falls as slowly as ``0.78 ** distance``.

    Parameters
    ----------
    samples
        Windows of the image; squares with an invalid pixel in any channel are left out.

    Returns
    -------
    squares
        Squares of each channel; the channels of a place share their `structure`.
    correlation
        From the whole spectrum of the flattest squares.
    """
    spectra = square_spectra(samples, LARGE_SIDE)
    weight = _all_orders_weight(spectra.order)
    squares = Squares(
        spectra.level,
        spectra.structure(LOWEST_ORDER),
        (spectra.energy @ weight.astype(np.float32)).astype(np.float64),
        # where the low orders outweigh the high ones, some 100 of the 256 coefficients count
        100 * spectra.new_share,
    )
    return squares, correlation_from_all_orders(spectra)


def _all_orders_weight(order: npt.NDArray[np.int_]) -> FloatArray:
    """Weights of the energies for a mean over all orders, in which `LOWEST_ORDER` stands for those below."""
    weight = (order >= LOWEST_ORDER).astype(np.float64)
    weight[order == LOWEST_ORDER] += (order < LOWEST_ORDER).sum() / (order == LOWEST_ORDER).sum()
    return weight / len(order)
