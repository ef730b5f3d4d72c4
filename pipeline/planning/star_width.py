"""How wide stars are, and whether a cosmic ray, which is sharper, can be told from them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from glassplate.models.noise.model import NoiseModel
from glassplate.pipeline.scaling import Sample

# Standard deviations above the sky from which the shape of a peak is measurable.
BRIGHT = 20.0
# Half-width, in pixels, of the square in which a peak is the highest pixel.
PEAK_RADIUS = 2
# Fewest peaks from which the width is judged.
FEWEST = 3
# Mean of a peak's four neighbours over the peak, above the sky; 0.7 is that of a Gaussian star with a width
# (FWHM) of 2.8 pixels. Medians of real exposures: DECam 0.77 to 0.90, 2MASS 0.75, KPNO 0.89, drizzled HST
# 0.85, and there L.A.Cosmic finds only rays and blemishes; 0.65 on an under-sampled one, where it takes 8 of
# 17 stars for rays; SDSS and Spitzer stacks of narrow stars 0.25 and 0.44.
WIDE = 0.7
# Lag-1 autocorrelation of the noise above which a ray is as smooth as the noise: scanned plates have 0.6 to
# 0.8, resampled exposures 0.05 to 0.2. (In a scan of M13, 26 pixels of stars near its border were taken for
# rays.)
SMOOTHED = 0.5
# Read noise in electrons below which the noise is that of photons alone. Detectors of integrated light have
# one and more. In counts of photons the estimate finds a little: 0.16 in an X-ray image (XMM, field
# 0805050101), where 13 800 of 166 000 pixels, sources among them, were taken for rays and filled.
LEAST_READ_NOISE = 0.5
# Width of a Gaussian at half its height, in its standard deviations.
FWHM_OF_SIGMA = 2.3548


def stars_are_wide(samples: Sequence[Sample], noise: NoiseModel, sky: float) -> bool:
    """Whether the bright peaks of an image are so wide that anything much sharper is no star.

    Parameters
    ----------
    samples
        Windows of the image with their valid maps, ``(c, h, w)``, source units.
    noise
        Noise of the image. The answer is False where it is that of photons alone, since there is no detector
        that rays could hit, and where it is so correlated that rays are no sharper than stars.
    sky
        Median of the image, source units.

    Returns
    -------
    bool
        False where there are too few peaks.
    """
    if _is_of_photons(noise) or noise.lag1 > SMOOTHED:
        return False
    found = peak_ratios(samples, noise, sky)
    return len(found) >= FEWEST and float(np.median(found)) > WIDE


def _is_of_photons(noise: NoiseModel) -> bool:
    """Whether there is no read noise, in electrons of the gain that the slope states.

    Noise that grows from a level far above 0 is that of a detector with a bias, or of many rays on a sky.
    """
    has_read_noise = noise.floor > (LEAST_READ_NOISE * noise.slope) ** 2
    return not has_read_noise and (noise.floor <= 0 or abs(noise.pedestal) <= noise.slope)


def star_width(samples: Sequence[Sample], noise: NoiseModel, sky: float) -> float | None:
    """Width (FWHM) of a Gaussian star as wide as the median bright peak, pixels; None for too few peaks.

    Parameters as of `stars_are_wide`. The highest pixel is taken for the middle of the star, so that narrow
    stars seem wider than they are.
    """
    found = peak_ratios(samples, noise, sky)
    if len(found) < FEWEST:
        return None
    ratio = float(np.median(found))
    if not 0 < ratio < 1:
        return None
    return FWHM_OF_SIGMA * math.sqrt(-1 / (2 * math.log(ratio)))


def peak_ratios(
    samples: Sequence[Sample], noise: NoiseModel, sky: float
) -> npt.NDArray[np.float64]:
    """Ratio of neighbours to peak for each bright peak, ``(n,)``; parameters as of `stars_are_wide`."""
    bright = sky + BRIGHT * float(np.sqrt(noise.variance(np.float64(sky))))
    ratios = [
        _neighbours_over_peak(plane.astype(np.float64), good, bright, sky)
        for values, valid in samples
        for plane, good in zip(values, valid, strict=True)
    ]
    return np.concatenate(ratios) if ratios else np.zeros(0)


def _neighbours_over_peak(
    plane: npt.NDArray[np.float64], valid: npt.NDArray[np.bool_], bright: float, sky: float
) -> npt.NDArray[np.float64]:
    """Ratio of neighbours to peak for each bright peak of a plane ``(h, w)``, ``(n,)``.

    Peaks with an invalid pixel around them are left out.
    """
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
