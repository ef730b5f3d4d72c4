"""The Gaussian average of an image."""

from __future__ import annotations

import torch
import torch.nn.functional as F


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
