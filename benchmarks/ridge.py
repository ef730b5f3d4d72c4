"""NL-Ridge, a closed-form filter, written from its paper for comparison.

Herbreteau & Kervrann, "Towards a unified view of unsupervised non-local methods for image denoising: the
NL-Ridge approach" (arXiv 2203.00570): groups of similar patches, each denoised as the linear combinations of
the group's patches that Stein's unbiased estimate (first step), or the first step's answer (second step),
says to have the least risk.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from rivals import Method

from glassplate.models.estimate.block_matching import Search, nearest_blocks

# Of the paper for this strength of noise: patches of 7x7 pixels, groups of 18 and 55, a search of 37x37. The
# search here takes patches of an even side.
SIDE, REACH = 8, 18
GROUPS = (18, 55)


def nl_ridge(sigma: float) -> Method:
    """NL-Ridge, told the noise; colours in opponent components, their groups from the brightness."""

    def run(image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        noisy = torch.from_numpy(np.ascontiguousarray(image / sigma)).float()  # noise of 1
        if len(noisy) == 3:
            noisy = torch.einsum("ij,jyx->iyx", OPPONENT, noisy)
        first = _step(noisy, noisy, GROUPS[0], told=False)
        second = _step(noisy, first, GROUPS[1], told=True)
        if len(noisy) == 3:
            second = torch.einsum("ji,jyx->iyx", OPPONENT, second)
        return sigma * second.double().numpy(), {}

    return run


# Orthonormal: brightness and two colours.
OPPONENT = torch.tensor([[3**-0.5] * 3, [2**-0.5, 0, -(2**-0.5)], [6**-0.5, -2 * 6**-0.5, 6**-0.5]])


def _step(noisy: torch.Tensor, pilot: torch.Tensor, count: int, *, told: bool) -> torch.Tensor:
    """Denoise (c, y, x) with noise of 1; groups are similar in the brightness of the pilot."""
    c, height, width = noisy.shape
    missing = [-(size - SIDE) % (SIDE // 2) for size in (height, width)]
    pad = (0, missing[1], 0, missing[0])
    wide = [torch.nn.functional.pad(t[None], pad, mode="replicate")[0] for t in (noisy, pilot)]
    _, h, w = wide[0].shape
    found = nearest_blocks(wide[1][None, :1], Search(SIDE, REACH, count), 1.0)
    t = torch.arange(SIDE)
    block = (t[:, None] * w + t).reshape(-1)
    total, weight = torch.zeros(c, h * w), torch.zeros(c, h * w)
    eye = torch.eye(found.corners.shape[1])
    for corners in torch.split(found.corners, 1024):
        place = corners.unsqueeze(-1) + block  # (n, k, pixels)
        for channel in range(c):
            y, x = (t[channel].reshape(-1)[place] for t in wide)  # (n, k, pixels)
            n = y.shape[-1]
            gram = x @ x.mT  # (n, k, k)
            # least risk: (X^T X + n)^-1 X^T X, or by Stein 1 - n (Y^T Y)^-1
            theta = torch.linalg.solve(gram + n * eye, gram) if told else _stein(gram, n, eye)
            shrunk = theta.mT @ y
            # patches of a combination with small weights have little noise left
            trust = 1 / theta.square().sum(1).clamp(min=1e-3).unsqueeze(-1).expand_as(y)
            total[channel].index_add_(0, place.reshape(-1), (trust * shrunk).reshape(-1))
            weight[channel].index_add_(0, place.reshape(-1), trust.reshape(-1))
    return (total / weight).view(c, h, w)[:, :height, :width]


def _stein(gram: torch.Tensor, n: int, eye: torch.Tensor) -> torch.Tensor:
    return eye - n * torch.linalg.inv(gram + 1e-3 * n * eye)
