"""How sharp the bright peaks of an image are: whether a ray can be told from a star."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from glassplate.models.noise.model import NoiseModel
from glassplate.pipeline.scaling import Sample

# Standard deviations above the sky from which a peak is bright enough for its shape to be seen.
BRIGHT = 20.0
# Half-width of the square in which a peak is the highest pixel.
PEAK_RADIUS = 2
# Fewest peaks that tell anything.
FEWEST = 3
# Mean of the four neighbours of a Gaussian star's peak over the peak, for a width (FWHM) of 2.8 pixels.
# Median over the peaks of real exposures: DECam 0.77 to 0.90, 2MASS 0.75, KPNO 0.89, HST drizzled 0.85, where
# L.A.Cosmic finds rays and blemishes only; 0.65 on an under-sampled one where it takes 8 of 17 stars, SDSS
# and Spitzer stacks of narrow stars 0.25 and 0.44.
WIDE = 0.7
# Autocorrelation of the noise from which on a ray is as smooth as the noise: scanned plates have 0.6 to 0.8,
# resampled exposures 0.05 to 0.2. (A scan of M13: 26 pixels of stars near its border were taken for rays.)
SMOOTHED = 0.5


def stars_are_wide(samples: Sequence[Sample], noise: NoiseModel, sky: float) -> bool:
    """Whether the bright peaks of an image are so wide that what is much sharper is no star.

    Parameters
    ----------
    samples
        Windows of the image with their valid maps, ``(c, h, w)``, source units.
    noise
        Of the image. Where it is that of photons alone there is no detector to be hit by rays, and where
        its neighbours are nearly alike rays are no sharper than stars: False.
    sky
        Median of the image, source units.

    Returns
    -------
    False where there are too few peaks to tell.
    """
    if noise.floor <= 0 or noise.lag1 > SMOOTHED:
        return False
    bright = sky + BRIGHT * float(np.sqrt(noise.variance(np.float64(sky))))
    ratios = [
        _neighbours_over_peak(plane.astype(np.float64), good, bright, sky)
        for values, valid in samples
        for plane, good in zip(values, valid, strict=True)
    ]
    found = np.concatenate(ratios) if ratios else np.zeros(0)
    return len(found) >= FEWEST and float(np.median(found)) > WIDE


def _neighbours_over_peak(
    plane: npt.NDArray[np.float64], valid: npt.NDArray[np.bool_], bright: float, sky: float
) -> npt.NDArray[np.float64]:
    """Of each bright peak of a plane ``(h, w)`` whose surroundings are valid, ``(n,)``."""
    side = 2 * PEAK_RADIUS + 1
    if min(plane.shape) < side:
        return np.zeros(0)
    squares = sliding_window_view(plane, (side, side))
    centre = squares[..., PEAK_RADIUS, PEAK_RADIUS]
    whole = sliding_window_view(valid, (side, side)).all((-2, -1))
    peaks = squares[
        (centre > bright) & whole & (centre == squares.max((-2, -1)))
    ]  # (n, side, side)
    m = PEAK_RADIUS
    around = (peaks[:, m - 1, m] + peaks[:, m + 1, m] + peaks[:, m, m - 1] + peaks[:, m, m + 1]) / 4
    ratios: npt.NDArray[np.float64] = (around - sky) / (peaks[:, m, m] - sky)
    return ratios
