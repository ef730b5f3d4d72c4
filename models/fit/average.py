"""The answer of a fit is an average over its iterations, never the last iterate."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from glassplate.models.stacked_state import StackedState

# From random weights the average forgets its bad beginning: after n iterations it reaches back over
# about n / LAG of them. (Three 128x128 crops, sigma 25, from random weights: 0.19 dB after 100 iterations,
# 0.07 after 200.)
LAG = 5


class Average(StackedState):
    """Exponential average of the estimates, each pixel over the iterations whose averaging mask has it.

    Parameters
    ----------
    shape
        (1, C, H, W) of an estimate.
    device
        Of the estimates.
    decay
        Of the weights, at each iteration; its horizon is ``1 / (1 - decay)`` iterations.
    warm_start
        Whether the first estimates are good already, as from a donor's weights; otherwise the horizon grows
        with the run.
    """

    def __init__(
        self, shape: Sequence[int], device: torch.device | str, decay: float, *, warm_start: bool
    ) -> None:
        self.decay, self.warm_start = decay, warm_start
        self.sums, self.weights, self.latest = torch.zeros((3, *shape), device=device).unbind()
        # one for each window, because fits begin at different times; on the device, to save a transfer
        self.count = torch.zeros((1, 1, 1, 1), dtype=torch.float64, device=device)

    def add(self, x: torch.Tensor, mask: torch.Tensor) -> None:
        """Add the estimate of one iteration where the averaging mask is True; both (B, C, H, W)."""
        self.latest = x
        decay = torch.full_like(self.count, self.decay)
        if not self.warm_start:
            decay = torch.minimum(decay, self.count / (self.count + LAG))
        fresh = mask.to(x.dtype) * (1 - decay).to(x.dtype)
        self.sums.mul_(decay.to(x.dtype)).addcmul_(fresh, x)
        self.weights.mul_(decay.to(x.dtype)).add_(fresh)
        self.count += 1

    def value(self) -> torch.Tensor:
        """The average, (B, C, H, W); the latest estimate where no averaging mask has been True yet."""
        known = self.weights > 0
        return torch.where(known, self.sums / torch.where(known, self.weights, 1), self.latest)
