"""How averages are judged: the validation loss on pixels that no fit saw, and chi2 on the others."""

from __future__ import annotations

import torch

from glassplate.models.fit.losses import chi2, huber_weight, masked_mean, typical_size
from glassplate.models.fit.objective import Objective
from glassplate.models.stacked_state import StackedState


class Score(StackedState):
    """Validation loss and chi2 of averages of windows of one shape; tensors are (B, C, h, w).

    Parameters
    ----------
    objective
        What the fits minimise.
    valid
        Pixels to trust, bool.
    heldout
        Pixels that are kept from the fits, bool.
    variance
        Of the noise of each pixel, squared source units, where the source has it.
    validation_exposure
        An exposure that is kept from the fits, source units, which takes the place of the held-out pixels;
        NaN where it is not used.
    """

    def __init__(
        self,
        objective: Objective,
        valid: torch.Tensor,
        heldout: torch.Tensor,
        variance: torch.Tensor | None = None,
        validation_exposure: torch.Tensor | None = None,
    ) -> None:
        self.objective, self.valid, self.variance = objective, valid, variance
        self.validation_mask, self.validation_values = heldout, objective.y
        if validation_exposure is not None:
            self.validation_mask = validation_exposure.isfinite()
            self.validation_values = torch.where(
                self.validation_mask, validation_exposure, objective.y
            )

    def heldout_loss(self, mean: torch.Tensor) -> torch.Tensor:
        """Validation loss of averages (B, C, H, W): weighted squares, (B,); NaN where nothing is held out."""
        problem = self.objective.problem
        seen = problem.operator.forward(mean)
        squares = self.objective.validation_weight * (seen - self.validation_values).square()
        if problem.fit.robust is not None:
            size = squares.sqrt()
            bound = problem.fit.robust * typical_size(size, self.validation_mask)
            squares = squares * huber_weight(size, bound)
        return masked_mean(squares, self.validation_mask)

    def chi2(self, mean: torch.Tensor) -> torch.Tensor:
        """Mean squared residual of averages (B, C, H, W) over the noise variance, (B,); NaN without noise."""
        seen = self.objective.problem.operator.forward(mean)
        return chi2(seen, self.objective.y, self.noise_variance(seen), self.valid)

    def noise_variance(self, seen: torch.Tensor) -> torch.Tensor:
        """Variance of the measurements' noise, (B, C, h, w), given an estimate of them."""
        if self.variance is not None:
            return self.variance
        variance: torch.Tensor = self.objective.problem.noise.pixel_variance(seen)
        return variance
