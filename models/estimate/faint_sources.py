"""A guard on faint sources: light that stands out in the measurement and that a restoration has dimmed.

A prior takes a faint star for noise. The multiresolution support (Starck, Murtagh & Bijaoui 1995,
"Multiresolution support applied to image filtering and restoration", CVGIP 57, 420) says where a measurement
has structure: at the wavelet coefficients that exceed a multiple of their noise. There the restoration is
made to agree with the measurement. Elsewhere it is left alone, so that empty sky stays empty.

A single threshold does not do: low, it makes structure of noise; high, it cuts the wings off a star. So a
source begins where a coefficient is far above its noise, and extends over all weaker ones that touch it, as
in the edge detector of Canny (1986). Figures in docs/design/017-faint-sources.md.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F

from glassplate.models.fit.losses import masked_median
from glassplate.models.noise.impulses import MEDIAN_ABSOLUTE
from glassplate.models.noise.model import NoiseModel
from glassplate.models.wavelets import (
    correlated_sigma,
    returned_variance,
    smoothed,
    wavelet_planes,
    white_sigma,
    white_skewness,
)

# Structure of 1 to 16 pixels. A prior does not miss what is wider, and the wide supports around stars would
# bring noise back (sky 0.070 of the noise with five scales, 0.035 with these).
SCALES = 4
# Steps of the iteration.
STEPS = 6
# Standard deviations by which the threshold is higher at each scale. The finest have most of the
# coefficients, thus most false alarms, and little of the light of a star that is two pixels wide or more; the
# widest has little of it either, and brings the most noise back. The third, of 4 pixels, has most of the
# light of a faint star: with 0 instead, four DECam fields keep 0.77 of it at signal to noise 5, and 0.84 so;
# with -0.5 0.87, and noise that is more correlated than the model says comes back as 0.12 of itself.
HIGHER = (1.0, 0.5, -0.35, 2.0)
# Standard deviations by which a dark source must exceed that: noise is as often dark as light, and a sky has
# hardly any dark source that no light surrounds. Stars keep the same light to 0.004 with 1, 2 and more, and
# the error of an empty sky falls by 12 and 24 % in white noise, 9 and 19 % in correlated noise.
DARKER = 2.0
# Times the noise that comes back through a scale everywhere that comes back where a source is: a small
# support must make the coefficients agree alone (stars of signal to noise 20 and 60 in white and correlated
# noise: 2.2 to 2.5).
OF_PATCHES = 2.4
# Share of the threshold down to which a source extends, and how far, in pixels of each scale's own size.
WEAK, REACH = 0.75, 1


class Noise(NamedTuple):
    """The noise of a measurement as the guard needs it."""

    variance: torch.Tensor
    """(B, C, h, w), squared source units; ignored where a pixel is not valid."""
    model: NoiseModel
    """Its slope gives the skewness of photon noise, its correlation the noise of wide structure."""


class Guarded(NamedTuple):
    """A restoration with the light of faint sources; both (B, C, h, w)."""

    values: torch.Tensor
    """Source units."""
    noise: torch.Tensor
    """Variance of the noise that came back with the light, squared source units; 0 where no light did."""


def with_significant_light(
    x: torch.Tensor, y: torch.Tensor, valid: torch.Tensor, noise: Noise, threshold: float
) -> Guarded:
    """Give the structure back that is significant in a measurement and missing from its restoration.

    The support has the wavelet coefficients of the measurement that exceed `threshold` times their noise,
    and weaker ones beside them. The restoration then takes a few steps
    ``x += sum over scales of support * W(y - x)``.

    Parameters
    ----------
    x, y
        (B, C, h, w), restoration and measurement, source units. `y` is ignored where it is not valid.
    valid
        (B, C, h, w) bool.
    noise
        Of the measurement.
    threshold
        Standard deviations from which a source begins.

    Returns
    -------
    Guarded
        `x` itself where nothing is significant, and for images of less than 8 pixels a side.
    """
    scales = min(SCALES, int(math.log2(min(x.shape[-2:]))) - 2)
    if scales < 1:
        return Guarded(x, torch.zeros_like(x))
    measured = torch.where(valid, y, x)  # an invalid pixel has nothing to give back
    found = _significance(x, measured, valid, noise, scales)
    supports = _supports(found, threshold)
    for _ in range(STEPS):
        planes = wavelet_planes(measured - x, scales)
        for support, plane in zip(supports, planes, strict=True):
            x = x + torch.where(support, plane, 0)
    lag1 = max(noise.model.lag1, 0.0) if noise.model.correlated else 0.0
    share = torch.where(valid, (OF_PATCHES * _returned(supports, lag1)).clamp(max=1), 0)
    return Guarded(x, share * _completed(noise.variance, valid))


def _returned(supports: list[torch.Tensor], lag1: float) -> torch.Tensor:
    """Share of the variance of the noise that comes back through the scales of each pixel, (B, C, h, w)."""
    scales = range(len(supports))
    combinations = [tuple(n for n in scales if code >> n & 1) for code in range(2 ** len(supports))]
    shares = [returned_variance(some, STEPS, lag1) if some else 0.0 for some in combinations]
    code = torch.stack([2**n * support.long() for n, support in zip(scales, supports, strict=True)])
    each = torch.tensor(shares).to(code.device).index_select(0, code.sum(0).flatten())
    return each.view_as(supports[0])


def _supports(found: list[Significance], threshold: float) -> list[torch.Tensor]:
    """Coefficients of each scale that belong to a source, (B, C, h, w) bool."""
    # light and dark each for itself: noise of the other sign beside a source is none of it
    signs = [_of_one_sign(found, sign, threshold) for sign in (1, -1)]
    return [light | dark for light, dark in zip(*signs, strict=True)]


def _of_one_sign(found: list[Significance], sign: int, threshold: float) -> list[torch.Tensor]:
    """Support of the coefficients of one sign at each scale, (B, C, h, w) bool."""
    thresholds = [threshold + higher for higher in HIGHER[: len(found)]]
    pairs = list(zip(found, thresholds, strict=True))
    more = DARKER if sign < 0 else 0.0
    strong = [_exceeds(one, sign, above + more) for one, above in pairs]
    weak = [_exceeds(one, sign, WEAK * above) for one, above in pairs]
    supports = []
    for scale, near in enumerate(weak):
        # a source is seen at neighbouring scales too
        beside = strong[max(scale - 1, 0) : scale + 2]
        begun = near & torch.stack(beside).any(0)
        supports.append(_extended(begun, near, REACH * 2 ** min(scale, 2)))
    return supports


class Significance(NamedTuple):
    """Wavelet coefficients of one scale; both (B, C, h, w)."""

    sigmas: torch.Tensor
    """In units of their noise; 0 where there is no noise, in which nothing can be lost as noise."""
    skewness: torch.Tensor
    """Skewness of that noise."""


def _significance(
    x: torch.Tensor, measured: torch.Tensor, valid: torch.Tensor, noise: Noise, scales: int
) -> list[Significance]:
    """Compare the coefficients of each scale with their noise.

    The noise of a scale is the largest of three: that of white noise, that of the model's correlated noise,
    and the scatter of the residual's coefficients. So neither a noise that is less or more correlated than
    the model says nor one that is taken too low makes every fluctuation a source. In a crowded field the
    residual is almost zero, and the first two decide.
    """
    variance = _completed(noise.variance, valid)
    units = torch.where(variance > 0, variance, 1).sqrt()
    residual = torch.where(valid & (variance > 0), (measured - x) / units, 0)
    lag1 = max(noise.model.lag1, 0.0) if noise.model.correlated else 0.0
    found = []
    planes = zip(wavelet_planes(residual, scales), wavelet_planes(measured, scales), strict=True)
    for scale, (of_residual, of_measured) in enumerate(planes):
        modelled = max(correlated_sigma(scale, lag1), white_sigma(scale))
        sigma = _scatter(of_residual, valid).clamp(min=modelled) * variance.sqrt()
        sigmas = torch.where(sigma > 0, of_measured / torch.where(sigma > 0, sigma, 1), 0)
        # the third cumulant of photon noise is the slope times its variance
        units = torch.where(variance > 0, variance, 1).sqrt()
        skewness = white_skewness(scale) * noise.model.slope / units
        found.append(Significance(sigmas, skewness))
        variance = smoothed(variance, scale)
    return found


def _exceeds(found: Significance, sign: int, threshold: float) -> torch.Tensor:
    """Coefficients of one sign beyond a threshold in standard deviations; (B, C, h, w) bool.

    Photon noise is skewed, so that its bright tail needs a higher threshold (Cornish & Fisher 1938).
    """
    if sign < 0:
        return found.sigmas < -threshold
    return found.sigmas > threshold + max(threshold**2 - 1, 0) / 6 * found.skewness


def _extended(begun: torch.Tensor, near: torch.Tensor, steps: int) -> torch.Tensor:
    """Extend `begun` over touching pixels of `near`, at most so many steps; (B, C, h, w) bool."""
    reached, within = begun.float(), near.float()
    for _ in range(steps):
        reached = F.max_pool2d(reached, 3, stride=1, padding=1) * within
    return reached > 0


def _completed(variance: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Replace the variance of invalid pixels by that of valid ones near them, or of all."""
    known = valid.to(variance.dtype)
    of_valid = torch.where(valid, variance, 0)
    count = known.sum((-2, -1), keepdim=True).clamp(min=1)
    everywhere = of_valid.sum((-2, -1), keepdim=True) / count
    near = smoothed(known, 0)
    local = torch.where(near > 0, smoothed(of_valid, 0) / near.clamp(min=1e-6), everywhere)
    return torch.where(valid, variance, local)


def _scatter(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Robust standard deviation of each channel over its valid pixels; (B, C, 1, 1), 0 where none is."""
    channels = masked_median(values.abs().flatten(0, 1), valid.flatten(0, 1))  # (B C, 1, 1, 1)
    return channels.view(*values.shape[:2], 1, 1).nan_to_num() / MEDIAN_ABSOLUTE
