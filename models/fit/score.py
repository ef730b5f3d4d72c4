"""What a record says of an average: how it foretells pixels that no fit saw, how it fits the others."""

from __future__ import annotations

import torch

from glassplate.models.batching.slots import Slotted
from glassplate.models.fit.losses import chi2, huber_weight, masked_mean, typical_size
from glassplate.models.fit.objective import Objective


class Judge(Slotted):
    """Who judges averages of windows of one shape; tensors are (B, C, h, w).

    Parameters
    ----------
    objective
        What the fits minimise.
    valid
        Pixels to trust, bool.
    heldout
        Pixels that the fits never saw, bool.
    variance
        Of the noise of each pixel, squared source units, where the source has it.
    witness
        An exposure that the fits never saw, source units, which judges in place of the held-out pixels;
        NaN where it does not.
    """

    def __init__(
        self,
        objective: Objective,
        valid: torch.Tensor,
        heldout: torch.Tensor,
        variance: torch.Tensor | None = None,
        witness: torch.Tensor | None = None,
    ) -> None:
        self.objective, self.valid, self.variance = objective, valid, variance
        self.judges, self.witness = heldout, witness
        if witness is not None:
            self.judges = witness.isfinite()
            self.witness = torch.where(self.judges, witness, objective.y)

    def heldout_loss(self, mean: torch.Tensor) -> torch.Tensor:
        """Weighted squares of averages (B, C, H, W) where they are judged, (B,); NaN where nowhere."""
        problem = self.objective.problem
        seen = problem.operator.forward(mean)
        against = self.objective.y if self.witness is None else self.witness
        squares = self.objective.judging * (seen - against).square()
        if problem.fit.robust is not None:
            size = squares.sqrt()
            bound = problem.fit.robust * typical_size(size, self.judges)
            squares = squares * huber_weight(size, bound)
        return masked_mean(squares, self.judges)

    def chi2(self, mean: torch.Tensor) -> torch.Tensor:
        """Mean squared residual of averages (B, C, H, W) over the noise variance, (B,); NaN without noise."""
        seen = self.objective.problem.operator.forward(mean)
        return chi2(seen, self.objective.y, self.noise(seen), self.valid)

    def noise(self, seen: torch.Tensor) -> torch.Tensor:
        """Variance of the measurements' noise, (B, C, h, w), given an estimate of them."""
        if self.variance is not None:
            return self.variance
        variance: torch.Tensor = self.objective.problem.noise.variance(seen)
        return variance
