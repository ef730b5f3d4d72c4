"""The answer of a fit is an average over its iterations, never the last iterate; how far these wander."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from glassplate.models.batching.slots import Slotted

# An average from random weights forgets its bad beginning: after n iterations it reaches back over
# about n / LAG of them. (Three 128x128 crops, sigma 25, from random weights: 0.19 dB after 100 iterations,
# 0.07 after 200.)
LAG = 5
# Share of the newest estimate in the moving variance: that of Wang et al. (2023).
NEWEST = 0.1


class Average(Slotted):
    """Exponential average of the estimates, each pixel over the iterations that answered for it.

    Parameters
    ----------
    shape
        (1, C, H, W) of an estimate.
    device
        Of the estimates.
    decay
        Of the weights, at each iteration; its horizon is ``1 / (1 - decay)`` iterations.
    settled
        Whether the first estimates are good already, as from a donor's weights; else the horizon grows
        with the run.
    """

    def __init__(
        self, shape: Sequence[int], device: torch.device | str, decay: float, *, settled: bool
    ) -> None:
        self.decay, self.settled = decay, settled
        self.sums, self.weights, self.latest = torch.zeros((3, *shape), device=device).unbind()
        # of each window, for they need not have begun together; on the device, which is not to wait for it
        self.count = torch.zeros((1, 1, 1, 1), dtype=torch.float64, device=device)

    def add(self, x: torch.Tensor, answered: torch.Tensor) -> None:
        """Take in the estimate of one iteration; both (B, C, H, W)."""
        self.latest = x
        decay = torch.full_like(self.count, self.decay)
        if not self.settled:
            decay = torch.minimum(decay, self.count / (self.count + LAG))
        fresh = answered.to(x.dtype) * (1 - decay).to(x.dtype)
        self.sums.mul_(decay.to(x.dtype)).addcmul_(fresh, x)
        self.weights.mul_(decay.to(x.dtype)).add_(fresh)
        self.count += 1

    def value(self) -> torch.Tensor:
        """(B, C, H, W): the average; the latest estimate where no iteration has answered yet."""
        answered = self.weights > 0
        return torch.where(
            answered, self.sums / torch.where(answered, self.weights, 1), self.latest
        )


class Wandering(Slotted):
    """Exponential moving variance of the estimates, about an average of its own.

    The ES-EMV of H. Wang et al., "Early Stopping for Deep Image Prior" (TMLR 2023): it falls while the
    network takes in the scene and rises again with the noise.

    Parameters
    ----------
    shape
        (1, C, h, w) of an estimate.
    device
        Of the estimates.
    """

    def __init__(self, shape: Sequence[int], device: torch.device | str) -> None:
        self.mean = torch.zeros(tuple(shape), device=device)
        self.variance = torch.zeros(1, device=device)

    def add(self, x: torch.Tensor, weight: torch.Tensor) -> None:
        """Take in an estimate, (B, C, h, w), its squares counted with `weight`, of the same shape."""
        step = x - self.mean
        squares = (weight * step.square()).flatten(1).mean(1)  # (B,)
        self.mean.add_(step, alpha=NEWEST)
        self.variance = (1 - NEWEST) * (self.variance + NEWEST * squares)

    def value(self) -> torch.Tensor:
        """The variance of each window, (B,)."""
        return self.variance
