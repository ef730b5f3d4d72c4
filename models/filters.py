"""Local means of images: Gaussian blur, the mean of the eight neighbours, filling from known neighbours."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def gaussian_blur(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian mean of (B, C, h, w) with standard deviation `sigma` in pixels; 0 beyond the border.

    Dividing by the blur of ones (or of the valid map) gives the normalised mean.
    """
    half = max(1, round(3 * sigma))
    t = torch.arange(-half, half + 1, dtype=x.dtype, device=x.device) / sigma
    k = torch.exp(-0.5 * t * t)
    k = k / k.sum()
    b, c, h, w = x.shape
    x = x.reshape(b * c, 1, h, w)
    x = F.conv2d(x, k.view(1, 1, -1, 1), padding=(half, 0))
    x = F.conv2d(x, k.view(1, 1, 1, -1), padding=(0, half))
    return x.reshape(b, c, h, w)


def fill_unknown(
    values: torch.Tensor, known: torch.Tensor, sigma: float | None = None
) -> torch.Tensor:
    """Replace unknown pixels by the mean of known ones near them.

    Parameters
    ----------
    values
        (B, C, h, w).
    known
        (B, C, h, w) bool.
    sigma
        Standard deviation of a Gaussian mean, in pixels; None for the mean of the eight neighbours.

    Returns
    -------
    `values` where known. Elsewhere the mean of the known neighbours, or, where there is none, of the known
    pixels in the smallest surrounding square of 2, 4, 8, ... pixels that has one; 0 where nothing is known.
    """
    if sigma is None:
        return torch.where(known, values, neighbour_mean(values, known))
    weight = known.to(values.dtype)
    weighted = values * weight
    sums, counts = gaussian_blur(weighted, sigma), gaussian_blur(weight, sigma)
    near = counts > 1e-3  # the far tail of the Gaussian does not count as near
    mean = torch.where(near, sums / counts.clamp(min=1e-3), _far_mean(weighted, weight))
    return torch.where(known, values, mean)


def neighbour_mean(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Mean of the known ones of each pixel's eight neighbours, without the pixel itself.

    Where none of them is known, the mean of the known pixels in the smallest surrounding square of 2, 4,
    8, ... pixels that has one. All tensors are (B, C, h, w).
    """
    weight = known.to(values.dtype)
    weighted = values * weight
    sums, counts = _neighbour_sum(weighted), _neighbour_sum(weight)
    mean = sums / counts.clamp(min=1)
    if _surely_known(counts):
        return mean
    return torch.where(counts > 0, mean, _far_mean(weighted, weight))


def _surely_known(counts: torch.Tensor) -> bool:
    """Whether each place has a known pixel; False on a GPU, which would be waited for."""
    return counts.device.type == "cpu" and bool(counts.amin() > 0)


def _neighbour_sum(x: torch.Tensor) -> torch.Tensor:
    """Sum of each pixel's eight neighbours, 0 beyond the border; (B, C, h, w) to the same."""
    # Slices take a tenth of the time of torch's pooling.
    wide = F.pad(x, (1, 1, 1, 1))
    rows = wide[..., :-2, :] + wide[..., 1:-1, :] + wide[..., 2:, :]
    sides = rows[..., :-2] + rows[..., 2:]
    return sides + (wide[..., :-2, 1:-1] + wide[..., 2:, 1:-1])


def _far_mean(weighted: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean of the known pixels of the smallest dyadic square that has any; (B, C, h, w) to the same."""
    size = weighted.shape[-2:]
    if max(size) == 1:
        return weighted / weight.clamp(min=1)
    sums, counts = _sum_2x2(weighted), _sum_2x2(weight)
    mean = sums / counts.clamp(min=1)  # (B, C, ceil(h/2), ceil(w/2))
    if not _surely_known(counts):  # most often squares of 4 are known
        mean = torch.where(counts > 0, mean, _far_mean(sums, counts))
    return F.interpolate(mean, scale_factor=2, mode="nearest")[..., : size[0], : size[1]]


def _sum_2x2(x: torch.Tensor) -> torch.Tensor:
    """Sum of squares of 2x2 pixels, (B, C, h, w) to (B, C, ceil(h/2), ceil(w/2))."""
    h, w = x.shape[-2:]
    x = F.pad(x, (0, w % 2, 0, h % 2))
    rows = x[..., ::2, :] + x[..., 1::2, :]
    return rows[..., ::2] + rows[..., 1::2]
