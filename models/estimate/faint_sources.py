"""A guard on faint sources: point-like light that a restoration removed as noise."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from glassplate.models.filters import gaussian_blur

# Gaussian of the matched filter, pixels: a seeing disk of 2.4 pixels across at half its height. A filter of
# half or twice a source's width still sees 80 % of its significance.
SOURCE_RADIUS = 1.0
# Half the side of the square around a peak that belongs to its source.
FOOTPRINT = 2


def lost_sources(
    residual: torch.Tensor, sigma: torch.Tensor, valid: torch.Tensor, threshold: float
) -> torch.Tensor:
    """Find the point-like sources that a restoration lost, from its residual.

    The residual in units of the noise is filtered with the shape of a source. Its peaks are compared with the
    scatter of the filtered map (median of its absolute values) where that is larger than the noise alone
    gives. So neither correlated noise nor a noise model that is too low raises an alarm; nor does a crowded
    field, whose residual is almost zero except for the stars (M13: a third of its pixels).

    Parameters
    ----------
    residual
        (B, C, h, w), measurement less restoration, source units.
    sigma
        (B, C, h, w), standard deviation of the noise, source units; above 0.
    valid
        (B, C, h, w) bool.
    threshold
        Standard deviations above which a peak is a source.

    Returns
    -------
    (B, C, h, w) bool: the valid pixels within `FOOTPRINT` of a peak.
    """
    r = torch.where(valid, residual / sigma, 0)
    # sum k r / sqrt(sum k^2) over valid pixels: of unit variance where the noise is white
    known = gaussian_blur(valid.to(r.dtype), SOURCE_RADIUS / math.sqrt(2)).clamp(min=1e-3)
    filtered = gaussian_blur(r, SOURCE_RADIUS) / (known * _squared_sum()).sqrt()
    scatter = _scatter(filtered, valid)  # (B, C, 1, 1)
    highest = F.max_pool2d(filtered, 3, stride=1, padding=1) == filtered
    peaks = highest & valid & (filtered > threshold * scatter.clamp(min=1))
    side = 2 * FOOTPRINT + 1
    near = F.max_pool2d(peaks.to(r.dtype), side, stride=1, padding=FOOTPRINT) > 0
    return near & valid


def _squared_sum() -> float:
    """``sum k^2`` of the filter."""
    side = 8 * round(SOURCE_RADIUS) + 1
    impulse = torch.zeros(1, 1, side, side)
    impulse[..., side // 2, side // 2] = 1
    return float(gaussian_blur(impulse, SOURCE_RADIUS).square().sum())


def _scatter(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Robust standard deviation of each channel over its valid pixels; (B, C, 1, 1), NaN where none is."""
    some = torch.where(valid, values.abs(), math.nan).flatten(2)
    # the median absolute value of a normal variable is 0.6745 standard deviations
    # one at a time: on CUDA a median along an axis is not deterministic
    medians = torch.stack([channel.nanmedian() for channel in some.flatten(0, 1)])
    return medians.view(*some.shape[:2], 1, 1) / 0.67448975
