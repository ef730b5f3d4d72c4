"""The answer of a fit is an average over its iterations, never the last iterate; how far these wander."""

from __future__ import annotations

import torch

# An average from random weights forgets its bad beginning: after n iterations it reaches back over
# about n / LAG of them. (Three 128x128 crops, sigma 25, from random weights: 0.19 dB after 100 iterations,
# 0.07 after 200.)
LAG = 5
# Share of the newest estimate in the moving variance: that of Wang et al. (2023).
NEWEST = 0.1


class Average:
    """Exponential average of the estimates, each pixel over the iterations that answered for it.

    Parameters
    ----------
    decay
        Of the weights, at each iteration; its horizon is ``1 / (1 - decay)`` iterations.
    settled
        Whether the first estimates are good already, as from a donor's weights; else the horizon grows
        with the run.
    """

    def __init__(self, decay: float, *, settled: bool) -> None:
        self.decay, self.settled = decay, settled
        self.count = 0
        self.sums: torch.Tensor | None = None

    def add(self, x: torch.Tensor, answered: torch.Tensor) -> None:
        """Take in the estimate of one iteration; both (1, C, H, W)."""
        if self.sums is None:
            self.sums, self.weights = torch.zeros_like(x), torch.zeros_like(x)
        self.latest = x
        growing = self.count / (self.count + LAG)
        decay = self.decay if self.settled else min(self.decay, growing)
        fresh = answered.to(x.dtype) * (1 - decay)
        self.sums.mul_(decay).addcmul_(fresh, x)
        self.weights.mul_(decay).add_(fresh)
        self.count += 1

    def value(self) -> torch.Tensor:
        """(1, C, H, W): the average; the latest estimate where no iteration has answered yet."""
        assert self.sums is not None
        answered = self.weights > 0
        return torch.where(
            answered, self.sums / torch.where(answered, self.weights, 1), self.latest
        )


class Wandering:
    """Exponential moving variance of the estimates, about an average of its own.

    The ES-EMV of H. Wang et al., "Early Stopping for Deep Image Prior" (TMLR 2023): it falls while the
    network takes in the scene and rises again with the noise.
    """

    def __init__(self) -> None:
        self.mean: torch.Tensor | None = None

    def add(self, x: torch.Tensor, weight: torch.Tensor) -> None:
        """Take in an estimate, (1, C, h, w), its squares counted with `weight`, of the same shape."""
        if self.mean is None:
            self.mean = torch.zeros_like(x)
            self.variance = torch.zeros((), device=x.device)
        step = x - self.mean
        squares = (weight * step.square()).mean()
        self.mean.add_(step, alpha=NEWEST)
        self.variance = (1 - NEWEST) * (self.variance + NEWEST * squares)

    def value(self) -> float:
        """The variance."""
        assert self.mean is not None
        return float(self.variance)
