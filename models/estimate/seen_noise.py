"""The noise that a blind prediction shows, and the posterior mean with it.

What a pixel measured minus what its surroundings predict is noise, and structure that cannot be predicted. So
where the noise of neighbours is correlated, and an estimate from the measurement alone is poor, the residual
of the prediction tells the noise better: of brightness and of colour apart, since demosaicing and JPEG leave
much more of the one than of the other. Figures in docs/design/018-seen-noise.md.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from glassplate.models.estimate.colour_components import (
    channel_sigma,
    colour_axes,
    colour_components,
)
from glassplate.models.estimate.posterior import posterior_mean
from glassplate.models.filters import gaussian_blur

# Radius of the Gaussian mean of squared residuals of which the median is taken, pixels.
RADIUS = 6.0
# Times the variance of the noise model that the noise has, where a residual is no stronger than the model
# says: the model's is that of flat places, and a camera's JPEG leaves more where there is texture (crops
# of PolyU: 42.20, 42.33 and 42.45 dB in the mean with 1, 1.5 and 2). A stronger residual has structure that
# was not predicted, and the factor falls with its square, down to 1: photographs with grain of 4 levels,
# 36.2 dB, come to 36.8 to 38.8 dB, and with a factor of 3 or more everywhere to 30.1 to 35.8.
ELSEWHERE = 2.0
# Least variance of a component, in units of the noise model's: JPEG may leave no noise in the colours.
LEAST = 1e-3


class _Residual(NamedTuple):
    """What a measurement has beyond a prediction."""

    components: torch.Tensor
    """(B, C, h, w), in units of the model's noise; 0 where it is not `whole`."""
    whole: torch.Tensor
    """(B, 1, h, w) bool: every channel is valid and has noise."""
    axes: torch.Tensor
    """(B, C, C), of the components."""


# Classes of brightness, of as many pixels each, in which the residual is compared, and the blur of the
# brightness in pixels. With 3, 5 and 8 classes the crops of PolyU reach the same, 0.15 dB more than with one:
# after a camera's curve, the sigma of shadows and of lights differs by a factor of up to 2.5, either way.
CLASSES, BRIGHTNESS_BLUR = 5, 2.0
# Least and most noise of a class, in units of the variance of the whole; pixels that a class needs.
CLASS_RANGE, CLASS_LEAST = (0.2, 5.0), 64


def by_brightness(
    mu: torch.Tensor, y: torch.Tensor, variance: torch.Tensor, valid: torch.Tensor
) -> torch.Tensor:
    """Find how the noise depends on brightness, as a factor on the variance of the model; (B, 1, h, w).

    Parameters
    ----------
    mu, y, variance, valid
        As for `seen_noise`.

    Returns
    -------
    The median squared residual of pixels of this brightness over that of all, interpolated between classes; 1
    where too few pixels are valid.
    """
    r, whole, _ = _residual(mu, y, variance, valid)
    local = _local_mean(r.square().mean(1, keepdim=True), whole, RADIUS)  # (B, 1, h, w)
    light = _local_mean(mu.mean(1, keepdim=True), torch.ones_like(whole), BRIGHTNESS_BLUR)
    factor = torch.ones_like(light)
    # one by one, so that a window has the same noise whatever is filtered with it
    for n, within in enumerate(whole[:, 0]):
        levels, squares = light[n, 0][within], local[n, 0][within]
        middle = squares.median() if len(squares) else squares.new_zeros(())
        if len(squares) < CLASSES * CLASS_LEAST or middle <= 0:
            continue
        classes = levels.argsort(stable=True).tensor_split(CLASSES)
        x = torch.stack([levels[members].median() for members in classes])
        f = torch.stack([squares[members].median() for members in classes]) / middle
        factor[n, 0] = _interpolated(light[n, 0], x, f.clamp(*CLASS_RANGE))
    return factor


def _interpolated(at: torch.Tensor, x: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """Linear interpolation of `f` at rising `x`, constant beyond its ends."""
    right = torch.searchsorted(x, at.contiguous()).clamp(1, len(x) - 1)
    x0, x1 = x[right - 1], x[right]
    share = ((at - x0) / torch.where(x1 > x0, x1 - x0, 1)).clamp(0, 1)
    return f[right - 1] + share * (f[right] - f[right - 1])


def seen_noise(
    mu: torch.Tensor, y: torch.Tensor, variance: torch.Tensor, valid: torch.Tensor
) -> torch.Tensor:
    """Variance of the noise of each colour component, in units of what the noise model says.

    Parameters
    ----------
    mu
        (B, C, h, w), source units: a prediction of each pixel that is blind to it.
    y, variance
        (B, C, h, w), source units, and squared source units; ignored where not valid.
    valid
        (B, C, h, w) bool.

    Returns
    -------
    (B, C), above 0: the share of each component in the residual of typical places. The mean over the
    components is `ELSEWHERE` where that residual is no stronger than the model's noise, and 1 where it is
    much stronger.
    """
    r, whole, _ = _residual(mu, y, variance, valid)
    local = _local_mean(r.square(), whole, RADIUS)  # (B, C, h, w)
    found = []
    # one by one, so that a window has the same noise whatever is filtered with it
    for of_one, within in zip(local, whole[:, 0], strict=True):
        some = of_one[:, within]  # (C, n)
        # one channel after the other: CUDA has no deterministic median along an axis
        middle = torch.stack([c.median() if len(c) else c.new_zeros(()) for c in some])
        total = middle.mean()
        share = middle / total if total > 0 else torch.ones_like(middle)
        level = ELSEWHERE / max(float(total), 1.0) ** 2
        found.append((share * max(level, 1.0)).clamp(min=LEAST))
    return torch.stack(found)


def posterior_with_seen(
    mu: torch.Tensor,
    y: torch.Tensor,
    variance: torch.Tensor,
    valid: torch.Tensor,
    seen: torch.Tensor,
    radius: float,
    doubt: float,
) -> torch.Tensor:
    """Combine a blind prediction with a measurement of correlated noise, as `posterior_mean` does for white.

    Each colour component has the noise that was seen. With white noise of the model's variance, as much of
    the noise would be given back as it exceeds that (PolyU: 39.3 dB, of 38.4 measured, and 41.7 so).

    Parameters
    ----------
    mu, y, variance, valid
        As for `seen_noise`.
    seen
        (B, C), its result.
    radius, doubt
        As for `posterior_mean`. The standard error is that of white noise; that of correlated noise is the
        root of its `correlation_area` times larger.

    Returns
    -------
    x, (B, C, h, w): `mu` where not all channels are valid, `y` where a valid pixel has no noise.
    """
    r, whole, axes = _residual(mu, y, variance, valid)
    noise = seen[:, :, None, None].expand_as(r)
    shift = posterior_mean(torch.zeros_like(r), r, noise, whole.expand_as(valid), radius, doubt)
    x = mu + variance.clamp(min=0).sqrt() * colour_components(shift, True, axes)
    return torch.where(valid & (variance <= 0), y, torch.where(valid, x, mu))


def _local_mean(values: torch.Tensor, where: torch.Tensor, radius: float) -> torch.Tensor:
    """Gaussian mean of (B, C, h, w) over the pixels of (B, 1, h, w) bool; `values` are 0 elsewhere."""
    weight = gaussian_blur(where.to(values.dtype), radius)
    return gaussian_blur(values, radius) / weight.clamp(min=1e-6)


def correlation_area(lag1: float) -> float:
    """Pixels of correlated noise that tell as much of its variance as one of white noise: sum of rho^2.

    The noise is a separable autoregressive process of order one.
    """
    square = max(lag1, 0.0) ** 2
    return float(((1 + square) / (1 - square)) ** 2)


def _residual(
    mu: torch.Tensor, y: torch.Tensor, variance: torch.Tensor, valid: torch.Tensor
) -> _Residual:
    """Colour components of what a measurement has beyond a prediction."""
    noisy = valid & (variance > 0)
    whole = noisy.all(1, keepdim=True)
    axes = colour_axes(channel_sigma(variance, noisy))
    r = torch.where(whole, (y - mu) / torch.where(noisy, variance, 1).sqrt(), 0)
    return _Residual(colour_components(r, axes=axes), whole, axes)
