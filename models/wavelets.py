"""The isotropic undecimated wavelet transform of images ("starlet"), and its response to noise.

Starck, Fadili & Murtagh 2007, doi 10.1109/TIP.2006.887733. The planes and the smooth remainder sum to the
image. A plane is the difference of two smoothed images, so its coefficients do not depend on direction.
"""

from __future__ import annotations

from functools import cache

import torch

# Cubic B-spline, the smoothing kernel of the transform.
SPLINE = (1 / 16, 1 / 4, 3 / 8, 1 / 4, 1 / 16)


def wavelet_planes(x: torch.Tensor, scales: int) -> list[torch.Tensor]:
    """Transform images, (B, C, h, w) to `scales` planes of the same shape, the finest first.

    Plane j has structure of about ``2**j`` pixels. Borders are mirrored.
    """
    planes, smooth = [], x
    for scale in range(scales):
        smoother = smoothed(smooth, scale)
        planes.append(smooth - smoother)
        smooth = smoother
    return planes


def smoothed(x: torch.Tensor, scale: int) -> torch.Tensor:
    """Smooth (B, C, h, w) with the spline, its taps ``2**scale`` pixels apart; borders are mirrored."""
    for axis in (-2, -1):
        size = x.shape[axis]
        place = torch.arange(size, device=x.device)
        terms = [
            weight * x.index_select(axis, _mirrored(place + (tap - 2) * 2**scale, size))
            for tap, weight in enumerate(SPLINE)
        ]
        x = terms[0] + terms[1] + terms[2] + terms[3] + terms[4]
    return x


def _mirrored(place: torch.Tensor, size: int) -> torch.Tensor:
    """Indices into an axis that is continued by its mirror images, without repeating the borders."""
    if size == 1:
        return torch.zeros_like(place)
    period = 2 * size - 2
    place = place.abs() % period
    return torch.minimum(place, period - place)


@cache
def white_sigma(scale: int) -> float:
    """Standard deviation of a coefficient of white noise of variance 1."""
    return float(_kernel(scale).square().sum().sqrt())


@cache
def white_skewness(scale: int) -> float:
    """Skewness of a coefficient of white noise of skewness 1."""
    kernel = _kernel(scale)
    return float(kernel.pow(3).sum() / kernel.square().sum().pow(1.5))


@cache
def correlated_sigma(scale: int, lag1: float) -> float:
    """Standard deviation of a coefficient of correlated noise of variance 1.

    The noise is a separable autoregressive process of order one with the autocorrelation `lag1`.
    """
    kernel = _kernel(scale)
    side = 2 * kernel.shape[0]  # twice as large, so that the ends do not meet
    response = torch.fft.fft2(kernel, s=(side, side)).abs().square()
    return float((_power(side, lag1) * response).mean().sqrt())


@cache
def returned_variance(scales: tuple[int, ...], steps: int, lag1: float) -> float:
    """Variance of what comes back of noise of variance 1 through some scales, 0 to 1.

    The noise is that of `correlated_sigma`. It comes back in a number of steps
    ``x += sum over scales of W(noise - x)``, from 0, which return all of the frequencies that the scales
    have, not only their planes.
    """
    side = 2 * _kernel(max(scales)).shape[0]
    # the kernels are symmetric: their responses are real but for the place of their centres
    response = sum(torch.fft.fft2(_kernel(scale), s=(side, side)).abs() for scale in scales)
    returned = 1 - (1 - torch.as_tensor(response)).pow(steps)
    return float((_power(side, lag1) * returned.square()).mean())


def _power(side: int, lag1: float) -> torch.Tensor:
    """Power of separable autoregressive noise of variance 1 at each frequency, (side, side)."""
    distance = torch.arange(side, dtype=torch.float64)
    along = lag1 ** torch.minimum(distance, side - distance)
    power: torch.Tensor = torch.fft.fft2(torch.outer(along, along)).real
    return power


def _kernel(scale: int) -> torch.Tensor:
    """The wavelet of a scale: the plane of an image in which one pixel is 1."""
    reach = 2 * (2 ** (scale + 1) - 1)
    side = 4 * reach + 1  # the mirror images stay out of reach
    image = torch.zeros(1, 1, side, side, dtype=torch.float64)
    image[..., 2 * reach, 2 * reach] = 1
    plane = wavelet_planes(image, scale + 1)[scale]
    return plane[0, 0, reach : 3 * reach + 1, reach : 3 * reach + 1]
