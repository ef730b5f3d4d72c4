"""Repeating the pixels of the border beyond it, and the adjoint of that."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def repeat_border(x: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Repeat the nearest pixel beyond the border: (B, C, H, W) to (B, C, H + 2 down, W + 2 right)."""
    return F.pad(x, (right, right, down, down), mode="replicate")


def repeat_border_adjoint(x: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Add the margins to the pixels that they repeat: (B, C, H + 2 down, W + 2 right) to (B, C, H, W)."""
    return _add_margin_rows(_add_margin_rows(x, down).mT, right).mT


def _add_margin_rows(x: torch.Tensor, margin: int) -> torch.Tensor:
    """The same for rows alone: (B, C, H + 2 margin, W) to (B, C, H, W)."""
    if margin == 0:
        return x
    inner = x[..., margin:-margin, :].clone()
    inner[..., 0, :] += x[..., :margin, :].sum(-2)
    inner[..., -1, :] += x[..., -margin:, :].sum(-2)
    return inner
