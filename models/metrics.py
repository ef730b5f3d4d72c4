"""Figures of merit that compare images, over valid pixels only and summed in float64.

A pixel is invalid if it is NaN in either image, or if `valid` is False there.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

# Standard deviation of a Gaussian over its median absolute deviation, 1 / Phi^-1(3/4).
MAD_TO_SIGMA = 1.482602218505602

# Wang et al. 2004, "Image quality assessment": window and stabilisers of the structural similarity.
SSIM_SIGMA, SSIM_RADIUS, SSIM_K1, SSIM_K2 = 1.5, 5, 0.01, 0.03


def mse(x: FloatArray, reference: FloatArray, valid: BoolArray | None = None) -> float:
    """Mean squared difference over valid pixels; NaN if there is none."""
    a, b = _pairs(x, reference, valid)
    return float(np.mean((a - b) ** 2)) if a.size else math.nan


def psnr(
    x: FloatArray, reference: FloatArray, data_range: float, valid: BoolArray | None = None
) -> float:
    """Peak signal-to-noise ratio, ``10 log10(data_range**2 / mse)`` dB; infinite for equal images."""
    error = mse(x, reference, valid)
    if error == 0:
        return math.inf
    return 10 * math.log10(data_range**2 / error) if data_range > 0 else math.nan


def chi2(
    y: FloatArray, x: FloatArray, variance: FloatArray | float, valid: BoolArray | None = None
) -> float:
    """Mean of ``(y - x)**2 / variance`` over valid pixels; 1 if the difference is noise alone."""
    spread = np.broadcast_to(np.asarray(variance, np.float64), np.shape(y))
    good = _good(y, x, valid) & (spread > 0)
    a, b, s = (np.asarray(v, np.float64)[good] for v in (y, x, spread))
    return float(np.mean((a - b) ** 2 / s)) if a.size else math.nan


def flux_ratio(x: FloatArray, reference: FloatArray, valid: BoolArray | None = None) -> float:
    """Sum of an image over the sum of the reference, over pixels valid in both."""
    a, b = _pairs(x, reference, valid)
    total = float(b.sum())
    return float(a.sum()) / total if total else math.nan


def mad_sigma(image: FloatArray) -> float:
    """Estimate the noise of an image from the differences of neighbours along its last axis.

    Parameters
    ----------
    image
        Any shape; NaN where invalid.

    Returns
    -------
    sigma
        Robust standard deviation of the differences over the square root of 2; NaN if no two neighbours
        are valid. It is the sigma of the noise if that is white and the image is smooth.
    """
    difference = np.diff(np.asarray(image, np.float64), axis=-1)
    difference = difference[np.isfinite(difference)]
    if not difference.size:
        return math.nan
    spread = np.median(np.abs(difference - np.median(difference)))
    return float(MAD_TO_SIGMA * spread / math.sqrt(2))


def ssim(
    x: FloatArray, reference: FloatArray, data_range: float, valid: BoolArray | None = None
) -> float:
    """Mean structural similarity of Wang et al. 2004, Gaussian window of 1.5 pixels.

    Parameters
    ----------
    x, reference
        ``(y, x)`` or ``(c, y, x)``; channels are averaged.
    data_range
        Span of the values.
    valid
        Same shape; pixels whose window contains an invalid one are left out.

    Returns
    -------
    ssim
        In [-1, 1]; NaN if the image is smaller than the 11 x 11 window or nothing is valid.
    """
    total, count = ssim_sum(x, reference, data_range, valid)
    return total / count if count else math.nan


def ssim_sum(
    x: FloatArray, reference: FloatArray, data_range: float, valid: BoolArray | None = None
) -> tuple[float, int]:
    """Sum of the structural similarity over the pixels whose whole window is valid, and their number.

    The sums of bands that overlap by twice `SSIM_RADIUS` rows add up to the sum of the whole image.
    """
    a, b = np.asarray(x, np.float64), np.asarray(reference, np.float64)
    if min(a.shape[-2:]) <= 2 * SSIM_RADIUS or data_range <= 0:
        return 0.0, 0
    good = _good(a, b, valid)
    a, b = np.where(good, a, 0), np.where(good, b, 0)
    mean_a, mean_b = _window(a), _window(b)
    var_a = _window(a * a) - mean_a**2
    var_b = _window(b * b) - mean_b**2
    covariance = _window(a * b) - mean_a * mean_b
    c1, c2 = (SSIM_K1 * data_range) ** 2, (SSIM_K2 * data_range) ** 2
    similarity = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    )
    whole = _window(good.astype(np.float64)) > 1 - 1e-9
    return float(similarity[whole].sum()), int(whole.sum())


def _window(image: FloatArray) -> FloatArray:
    """Gaussian mean over 11 x 11 windows that lie inside the image."""
    offsets = np.arange(-SSIM_RADIUS, SSIM_RADIUS + 1)
    kernel = np.exp(-0.5 * (offsets / SSIM_SIGMA) ** 2)
    kernel /= kernel.sum()
    for axis in (-2, -1):
        views = np.lib.stride_tricks.sliding_window_view(image, kernel.size, axis=axis)
        image = views @ kernel
    return image


def _good(x: FloatArray, reference: FloatArray, valid: BoolArray | None) -> BoolArray:
    good: BoolArray = np.isfinite(x) & np.isfinite(reference)
    return good if valid is None else good & valid


def _pairs(
    x: FloatArray, reference: FloatArray, valid: BoolArray | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    good = _good(x, reference, valid)
    return np.asarray(x, np.float64)[good], np.asarray(reference, np.float64)[good]
