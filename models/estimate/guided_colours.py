"""Colours smoothed under the guidance of the restored brightness, where the noise is correlated.

Demosaicing and JPEG leave the noise of colours at so low frequencies that it reaches across any square of
dropped pixels: a network learns it as if it were structure. The brightness has been restored better, and
colours follow it: in a small neighbourhood, a colour is nearly a linear function of brightness (He, Sun &
Tang 2013, "Guided image filtering", IEEE TPAMI 35, 1397). What the colours have beyond that is kept where it
is stronger than in typical places, scale by scale. Figures in docs/design/018-seen-noise.md.
"""

from __future__ import annotations

import math

import torch

from glassplate.models.estimate.colour_components import colour_components
from glassplate.models.filters import gaussian_blur
from glassplate.models.wavelets import wavelet_planes

# Standard deviation of the Gaussian neighbourhood in which colours follow brightness, pixels.
RADIUS = 7.0
# Scales at which the rest is judged, each with what is wider in the last.
SCALES = 4
# Standard deviation of the Gaussian in which the energy of a scale is compared with its median, in units of
# the distance between the taps of the scale.
NEIGHBOURHOOD = 2.0
# Times its median that the energy of a scale is as noise.
DOUBT = 2.0
# Times the variance of the noise that all scales of a difference of colour may have as noise, and times what
# the least noisy difference has. Beyond is structure, as that of a photograph without noise is. Of 0.05, 0.1,
# 0.15 and 0.3, crops of PolyU gain 0.48, 0.51, 0.52 and 0.52 dB; six photographs with made grain, or as JPEG
# without it, gain 0.10 and 0.02 dB in the mean with the first two, and lose 0.09 and 0.40 with the others.
MOST, RATIO = 0.1, 2.0


def guided_colours(x: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """Smooth the differences of colour of a restoration, guided by its brightness.

    Parameters
    ----------
    x
        (B, C, h, w), source units, finite.
    variance
        (B, C, h, w), of the noise, squared source units. Pixels without noise are left as they are.

    Returns
    -------
    (B, C, h, w) of the same brightness; `x` itself where it has one channel, or too many for
    `colour_components`, or less than 8 pixels a side.
    """
    scales = min(SCALES, int(math.log2(min(x.shape[-2:]))) - 2)
    planes = colour_components(x)  # (B, C, h, w)
    if planes is x or scales < 1:
        return x
    brightness, colours = planes[:, :1], planes[:, 1:]
    noise = variance.mean(1, keepdim=True)  # (B, 1, h, w)
    explained = _following(brightness, colours, noise)
    sigma = torch.where(noise > 0, noise, 1).sqrt()
    kept = explained + sigma * _standing_out((colours - explained) / sigma, scales)
    smooth = colour_components(torch.cat([brightness, kept], 1), inverse=True)
    return torch.where(noise > 0, smooth, x)


def _following(
    brightness: torch.Tensor, colours: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """Colours as locally linear functions of brightness, (B, C - 1, h, w).

    `noise` regularises: brightness that varies by less than it explains nothing.
    """
    weight = gaussian_blur(torch.ones_like(brightness), RADIUS)

    def mean(values: torch.Tensor) -> torch.Tensor:
        return gaussian_blur(values, RADIUS) / weight

    # without its mean, a brightness of thousands leaves no digits for its variance
    guide = brightness - brightness.mean((-2, -1), keepdim=True)
    middle, of_colours = mean(guide), mean(colours)
    spread = (mean(guide.square()) - middle.square()).clamp(min=0) + mean(noise)
    slope = (mean(guide * colours) - middle * of_colours) / torch.where(spread > 0, spread, 1)
    offset = of_colours - slope * middle
    return mean(slope) * guide + mean(offset)


def _standing_out(rest: torch.Tensor, scales: int) -> torch.Tensor:
    """Part of (B, C, h, w), in units of the noise, that stands out from typical places; the same shape."""
    planes = wavelet_planes(rest, scales)
    planes.append(rest - torch.stack(planes).sum(0))
    energies = [
        _local_energy(plane, NEIGHBOURHOOD * 2 ** min(scale, scales - 1))
        for scale, plane in enumerate(planes)
    ]
    typical = torch.stack([_medians(energy) for energy in energies])  # (scales + 1, B, C, 1, 1)
    kept = torch.zeros_like(rest)
    for plane, energy, noise in zip(planes, energies, _as_noise(typical), strict=True):
        # nothing has no energy and no noise either
        part = 1 - DOUBT * noise / torch.where(energy > 0, energy, 1)
        kept = kept + part.clamp(min=0) * plane
    return kept


def _as_noise(typical: torch.Tensor) -> torch.Tensor:
    """Part of the typical energies, (scales, B, C, 1, 1), that can be noise; the same shape."""
    total = typical.sum(0)  # (B, C, 1, 1)
    most = (RATIO * total.amin(1, keepdim=True)).clamp(max=MOST)
    return typical * torch.minimum(most, total) / torch.where(total > 0, total, 1)


def _local_energy(plane: torch.Tensor, radius: float) -> torch.Tensor:
    """Gaussian mean of squares, (B, C, h, w)."""
    weight = gaussian_blur(torch.ones_like(plane[:1, :1]), radius)
    return gaussian_blur(plane.square(), radius) / weight


def _medians(energy: torch.Tensor) -> torch.Tensor:
    """Median of each image's channels, (B, C, 1, 1)."""
    # one channel after the other: CUDA has no deterministic median along an axis
    each = [channel.median() for image in energy for channel in image]
    return torch.stack(each).view(*energy.shape[:2], 1, 1)
