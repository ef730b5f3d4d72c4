"""Give an estimate the level of its measurement over distances that a prior network does not see well."""

from __future__ import annotations

import torch

from glassplate.models.filters import gaussian_blur

# Standard deviation, in pixels, of the Gaussian mean over which the level is taken. Twelve tiles of Kodak's
# photographs, white noise of sigma 25, gain in dB after 50 steps (5 steps) from the donor: 8 pixels 0.02
# (0.07), 11 0.04 (0.08), 16 0.04 (0.07), 22 0.03 (0.06), 32 0.03 (0.05). Of these, 16 is the least that made
# no tile worse. Without a donor, house and F16 gain 0.07 and 0.02 dB.
RADIUS = 16.0
# Largest radius for correlated noise: a tile's window has some 300 pixels. Three photographs of PolyU gain
# 0.034, 0.017 and 0.001 dB with it; with a radius of 16 the third loses 0.05.
MOST_RADIUS = 48.0
# Difference from the measurement, in standard deviations of the noise, that counts as no more: a star whose
# core is not quite reached would otherwise be spread over its surroundings.
MOST = 4.0
# Share of trusted pixels of a Gaussian mean below which it says nothing.
LEAST_WEIGHT = 1e-3


def with_measured_level(
    x: torch.Tensor, y: torch.Tensor, variance: torch.Tensor, valid: torch.Tensor, lag1: float = 0.0
) -> torch.Tensor:
    """Add to an estimate the Gaussian mean of what the measurement has more.

    A mean over hundreds of pixels has hardly any noise, so that it tells the level better than any prior
    does: the error of a network's estimate in squares of 64x64 pixels had three times the variance of the
    noise that is left there. What the estimate has at smaller distances stays as it is.

    Parameters
    ----------
    x, y, variance
        (B, C, h, w), source units, and squared source units for the variance of the noise.
    valid
        (B, C, h, w) bool: pixels whose measurement counts.
    lag1
        Autocorrelation of the noise between direct neighbours: a mean of noise that is correlated needs more
        pixels, ``((1 + lag1) / (1 - lag1))^2`` times as many for an autoregressive process of order one.

    Returns
    -------
    (B, C, h, w): `x` itself where no pixel near is valid and noisy.
    """
    noisy = valid & (variance > 0)
    sigma = torch.where(noisy, variance, 0).sqrt()
    excess = torch.where(noisy, y - x, 0)
    excess = torch.minimum(torch.maximum(excess, -MOST * sigma), MOST * sigma)
    radius = min(RADIUS * (1 + max(lag1, 0)) / (1 - max(lag1, 0)), MOST_RADIUS)
    weight = gaussian_blur(noisy.to(x.dtype), radius)
    near = weight > LEAST_WEIGHT
    mean = gaussian_blur(excess, radius) / weight.clamp(min=LEAST_WEIGHT)
    return x + torch.where(near, mean, 0)
