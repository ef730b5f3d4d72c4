"""Penalties: extra terms on the estimate, beside the data term."""

from __future__ import annotations

from typing import Protocol

import torch

from glassplate.models.fit.losses import total_variation
from glassplate.models.pixel_transform import PixelTransform
from glassplate.models.stacked_state import StackedState


class Penalty(Protocol):
    """An extra term on the estimate."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Map estimates (B, C, H, W) in source units to (B,) in squared units of the transform."""


class NoPenalty(StackedState):
    """No penalty."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return zeros, (B,)."""
        return torch.zeros(len(x), device=x.device)


class TotalVariation(StackedState):
    """``weight mean p sigma^2 (sqrt(|grad u|^2 / sigma^2 + E^2) - E)`` with u the estimate.

    u is in the network's domain and sigma the noise there, so that a weight means the same whatever the
    source's units and noise: ``p sigma^2`` is what pure noise costs a pixel in the data term, and a gradient
    of one standard deviation costs about `weight` times as much.

    Parameters
    ----------
    weight
        Above 0.
    sigma
        (1, C, h, w), standard deviation of the measurement's noise in the network's domain; 0 for no
        penalty.
    precision
        (1, C, h, w), the data term's relative weights p.
    transform
        From source units to the network's domain.
    scale
        Pixels of the estimate per pixel of the measurement, along each axis.
    """

    def __init__(
        self,
        weight: float,
        sigma: torch.Tensor,
        precision: torch.Tensor,
        transform: PixelTransform,
        scale: int,
    ) -> None:
        self.transform = transform
        cost = weight * precision * sigma.square()  # (1, C, h, w)
        unit = torch.where(sigma > 0, sigma, 1)
        self.cost, self.unit = (
            t.repeat_interleave(scale, -2).repeat_interleave(scale, -1) for t in (cost, unit)
        )  # (1, C, H, W)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Evaluate the formula; (B, C, H, W) to (B,)."""
        return total_variation(self.transform.forward(x), self.unit, self.cost)
