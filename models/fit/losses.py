"""Data terms, penalties, and statistics of the residual between A(x) and the measurement y."""

from __future__ import annotations

import torch
import torch.nn.functional as F

# Gradient, in units of the noise, below which total variation becomes quadratic. The square root has no
# derivative at 0; a tenth of the noise is far below every edge. Chosen, not tuned.
TV_SMOOTHING = 0.1


def weighted_squares(x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """``sum w (x - y)^2 / count(w > 0)`` of each window, (B,); 0 where no pixel has a weight.

    `x`, `y` and `weight` are (B, C, h, w); a pixel of weight 0 is ignored, whatever `y`
    holds there.
    """
    squares = weight * (x - y).square()
    return squares.flatten(1).sum(1) / (weight > 0).flatten(1).sum(1).clamp(min=1)


def huber_weight(size: torch.Tensor, bound: torch.Tensor) -> torch.Tensor:
    """``min(1, bound / size)``, of the shape of `size`: turns the gradient of squares into Huber's.

    `size` are absolute residuals, (B, C, h, w), and `bound`, (B, 1, 1, 1), is the residual beyond which the
    gradient no longer grows (Huber, Annals of Mathematical Statistics 35, 1964).
    """
    return torch.where(size > bound, bound / size.clamp(min=torch.finfo(size.dtype).tiny), 1.0)


def typical_size(size: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Median of `size` where `mask` is True, over 0.6745: the standard deviation of normal residuals.

    Both are (B, C, h, w), the result is (B, 1, 1, 1); 0 where the mask is empty.
    """
    return masked_median(size, mask).nan_to_num() / 0.67448975


def masked_median(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Median of each window where `mask` is True, both (B, C, h, w); (B, 1, 1, 1), NaN where it is empty."""
    some = torch.where(mask, values, torch.nan)
    # one by one: CUDA has no deterministic median along an axis; and NaN instead of indexing, for which the
    # device would have to be waited for
    return torch.stack([of_one.nanmedian() for of_one in some]).view(-1, 1, 1, 1)


def total_variation(u: torch.Tensor, unit: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """``mean weight (sqrt((dy^2 + dx^2) / unit^2 + E^2) - E)`` of each window, (B,); E is `TV_SMOOTHING`.

    The isotropic total variation of Rudin, Osher & Fatemi (1992), smoothed as by Charbonnier et al.
    (1994): 0 for a constant, close to the absolute gradient well above E units, quadratic below.

    Parameters
    ----------
    u
        (B, C, H, W). dy and dx are the differences to the next pixel, 0 at the last row and column; each
        channel has its own.
    unit
        Above 0, broadcast to (B, C, H, W): the gradient that counts as one.
    weight
        Broadcast to (B, C, H, W): the cost of such a gradient.
    """
    dy = F.pad(u.diff(dim=-2), (0, 0, 0, 1))  # (B, C, H, W)
    dx = F.pad(u.diff(dim=-1), (0, 1))  # (B, C, H, W)
    squares = (dy.square() + dx.square()) / (unit * unit)
    return (weight * ((squares + TV_SMOOTHING**2).sqrt() - TV_SMOOTHING)).flatten(1).mean(1)


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of `values` where `mask` is True, both (B, C, h, w); (B,), NaN where the mask is empty."""
    return torch.where(mask, values, 0).flatten(1).sum(1) / mask.flatten(1).sum(1)


def chi2(
    x: torch.Tensor, y: torch.Tensor, variance: torch.Tensor, valid: torch.Tensor
) -> torch.Tensor:
    """``mean (y - x)^2 / var`` over valid pixels of non-zero variance, (B,).

    1 if the residual agrees with the noise model, less if the fit follows the noise, more if it misses
    structure; NaN if no pixel is valid and noisy. All arguments are (B, C, h, w).
    """
    noisy = valid & (variance > 0)
    return masked_mean((y - x).square() / variance.clamp(min=torch.finfo(x.dtype).tiny), noisy)


def whiteness(residual: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Autocorrelation of the residual of each window at lag 1, (B,); 0 for white noise.

    Parameters
    ----------
    residual
        (B, C, h, w), in units of the noise if the noise varies.
    valid
        (B, C, h, w) bool; a pair counts if both pixels are valid.

    Returns
    -------
    The mean over horizontal and vertical neighbours of the product of the residuals, less the squared
    mean, over their variance; NaN where there is no pair or no variance.
    """
    mean = masked_mean(residual, valid).view(-1, 1, 1, 1)
    centred = torch.where(valid, residual - mean, 0)  # (B, C, h, w)
    products = torch.zeros(len(residual), dtype=residual.dtype, device=residual.device)  # (B,)
    pairs = torch.zeros_like(products)
    for axis in (-1, -2):
        n = residual.shape[axis]
        a, b = centred.narrow(axis, 0, n - 1), centred.narrow(axis, 1, n - 1)
        both = valid.narrow(axis, 0, n - 1) & valid.narrow(axis, 1, n - 1)
        products = products + torch.where(both, a * b, 0).flatten(1).sum(1)
        pairs = pairs + both.flatten(1).sum(1)
    return (products / pairs) / masked_mean(centred.square(), valid)
