"""The reversible scaling of an image's values to those that a network paints, one for the whole image.

A scaling of its own for each tile would give neighbouring tiles different brightness, and a seam. The
scaling comes from statistics of windows that are spread over the image, and is robust to outliers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from glassplate.models.noise.model import NoiseModel
from glassplate.models.pixel_transform import PixelTransform

# (values (c, h, w) in source units, valid (c, h, w)) of one window
Sample = tuple[npt.NDArray[np.floating], npt.NDArray[np.bool_]]

# How far the brightest sampled pixel lies above the median, in widths between the 10th and 90th percentiles,
# from which on the asinh scaling is taken. Photographs and pages lie at 0.5 to 2, Gaussian noise alone at
# 1.6, the star fields and galaxies of the evaluation set at 10 to 2000.
HEAVY_TAIL = 8.0
# Level above the sky, in standard deviations of the noise, where the asinh turns from linear to logarithmic:
# structure as faint as the noise stays on the linear part.
SOFTENING = 10.0


@dataclass(frozen=True)
class ScalingSettings:
    """How values are scaled for the network."""

    __pydantic_config__ = {"extra": "forbid"}

    kind: Literal["auto", "linear", "asinh", "range"] = "auto"
    """linear: robust percentiles become 0 and 1; asinh: linear near the sky, logarithmic far above it;
    range: the limits of an 8-bit type, else the extremes of the image, become 0 and 1; auto: range for 8-bit
    images, asinh where a few pixels are far brighter than the rest, else linear."""


def make_transform(
    samples: Sequence[Sample],
    settings: ScalingSettings,
    noise: NoiseModel,
    dtype: np.dtype[Any],
) -> PixelTransform:
    """Choose the scaling of an image from sampled windows.

    Parameters
    ----------
    samples
        Windows of the image; invalid pixels are ignored.
    settings
        Of the recipe.
    noise
        Noise of the image; its standard deviation at the sky sets the linear part of an asinh.
    dtype
        Pixel type of the result; 8-bit types have a natural range.

    Returns
    -------
    PixelTransform
        Finite and invertible. A constant image has a scale of 1.
    """
    pixels = np.concatenate([v[ok].astype(np.float64) for v, ok in samples] or [np.zeros(0)])
    if pixels.size == 0:
        return PixelTransform("linear", offset=0.0, scale=1.0, softening=1.0)
    kind = _kind(settings, pixels, dtype)
    if kind == "asinh":
        return _asinh(pixels, noise)
    if kind == "range":
        eight_bit = dtype.kind in "ui" and dtype.itemsize == 1
        low, high = (
            (np.iinfo(dtype).min, np.iinfo(dtype).max)
            if eight_bit
            else (pixels.min(), pixels.max())
        )
    else:
        low, high = np.percentile(pixels, [0.5, 99.5])
    scale = float(high - low)
    return PixelTransform("linear", offset=float(low), scale=scale or 1.0, softening=1.0)


def _kind(
    settings: ScalingSettings, pixels: npt.NDArray[np.float64], dtype: np.dtype[Any]
) -> Literal["linear", "asinh", "range"]:
    if settings.kind != "auto":
        return settings.kind
    if dtype.kind in "ui":
        return "range" if dtype.itemsize == 1 else "linear"
    low, median, high = np.percentile(pixels, [10, 50, 90])
    return "asinh" if pixels.max() - median > HEAVY_TAIL * (high - low) > 0 else "linear"


def _asinh(pixels: npt.NDArray[np.float64], noise: NoiseModel) -> PixelTransform:
    sky, low, high, bright = np.percentile(pixels, [50, 10, 90, 99.9])
    sigma = float(np.sqrt(noise.variance(np.asarray(sky))))
    # without noise, the spread of the image is the next best scale
    softening = SOFTENING * sigma or float(high - low) or 1.0
    scale = float(np.arcsinh((bright - sky) / softening))
    return PixelTransform("asinh", offset=float(sky), scale=scale or 1.0, softening=softening)
