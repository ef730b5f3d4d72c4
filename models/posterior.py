"""What a pixel itself measured comes back by Bayes' rule (Laine et al. 2019, with a local prior)."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def posterior_mean(
    mu: torch.Tensor,
    y: torch.Tensor,
    variance: torch.Tensor,
    valid: torch.Tensor,
    radius: float,
) -> torch.Tensor:
    """Combine a blind-spot estimate with the measurement it never saw.

    The estimate `mu` of a pixel is the prior's mean given all other pixels; its own measurement `y` has
    variance `variance`. The prior's variance in units of the noise, ``s = max(0, <(y - mu)^2 / var> - 1)``,
    is averaged over the valid neighbourhood, since one pixel says too little; then
    ``x = mu + s / (s + 1) (y - mu)``.

    Parameters
    ----------
    mu, y, variance
        (B, C, h, w), source units, and squared source units for the variance. `y` is ignored where it is
        not valid.
    valid
        (B, C, h, w) bool.
    radius
        Standard deviation of the Gaussian average, in pixels.

    Returns
    -------
    x, (B, C, h, w): `mu` at invalid pixels, `y` where a valid pixel has no noise.
    """
    residual = torch.where(valid, y - mu, 0)  # (B, C, h, w)
    noisy = valid & (variance > 0)
    excess = torch.where(noisy, residual.square() / torch.where(noisy, variance, 1) - 1, 0)
    counts = noisy.to(mu.dtype)
    spread = gaussian_blur(excess, radius) / gaussian_blur(counts, radius).clamp(min=1e-12)
    spread = spread.clamp(min=0)  # variance of the prior over variance of the noise
    gain = torch.where(noisy, spread / (spread + 1), 1)
    return mu + gain * residual


def gaussian_blur(x: torch.Tensor, radius: float) -> torch.Tensor:
    """Gaussian average of (B, C, h, w) with standard deviation `radius`; beyond the border is 0.

    Dividing by the blur of ones (or of validity) gives the normalised average.
    """
    half = max(1, round(3 * radius))
    t = torch.arange(-half, half + 1, dtype=x.dtype, device=x.device) / radius
    k = torch.exp(-0.5 * t * t)
    k = k / k.sum()
    b, c, h, w = x.shape
    x = x.reshape(b * c, 1, h, w)
    x = F.conv2d(x, k.view(1, 1, -1, 1), padding=(half, 0))
    x = F.conv2d(x, k.view(1, 1, 1, -1), padding=(0, half))
    return x.reshape(b, c, h, w)
