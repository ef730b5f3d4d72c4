"""What an iteration minimises: the data term of an estimate and its penalty."""

from __future__ import annotations

import torch

from glassplate.models.fit import losses
from glassplate.models.fit.penalties import Penalty
from glassplate.models.fit.problem import Problem
from glassplate.models.stacked_state import StackedState


class Objective(StackedState):
    """Data term and penalty of windows of one shape; tensors are (B, C, h, w) if not said otherwise.

    Parameters
    ----------
    problem
        What the windows share.
    y
        Measurement, source units; the transform's offset where not valid.
    precision
        Relative weight of each pixel, without a unit.
    slope
        ``du/dx`` of the transform at the level of each pixel's neighbours, 1 / source units.
    moments
        Mean and standard deviation of each channel in the network's domain, two (B, C, 1, 1).
    penalty
        Extra term on the estimate.
    """

    def __init__(
        self,
        problem: Problem,
        y: torch.Tensor,
        precision: torch.Tensor,
        slope: torch.Tensor,
        moments: tuple[torch.Tensor, torch.Tensor],
        penalty: Penalty,
    ) -> None:
        self.problem = problem
        self.y, self.precision, self.slope = y, precision, slope
        # of squared residuals in a validation loss, (B, C, h, w)
        self.validation_weight = precision * slope.square()
        self.centre, self.spread = moments
        self.penalty = penalty

    def estimate(self, output: torch.Tensor) -> torch.Tensor:
        """Convert network output (B, C, H', W') to source units, without its padding: (B, C, H, W).

        A linear output is in units of the window's own spread about its own mean, so that the optimiser's
        steps have the right size for every window. (F16, 100 iterations: 28.8 dB,
        against 26.8 in units of the image's range.)
        """
        scale = self.problem.operator.scale
        h, w = self.y.shape[-2:]
        u = output[..., : h * scale, : w * scale]
        if self.problem.network.output == "linear":
            u = self.centre + self.spread * u
        return self.problem.transform.inverse(u)

    def data_term(self, x: torch.Tensor, loss_mask: torch.Tensor) -> torch.Tensor:
        """Weighted squares of each window where the loss mask is True, (B,).

        With the weight ``du/dx`` at x times ``du/dx`` at the level of the neighbours, the gradient that
        reaches the network is ``du/dx(level) (x - y)``: linear in x, so its mean vanishes where the mean
        of x is y, and of moderate size on a star. docs/design/003-data-term.md has the rivals' figures.
        """
        seen = self.problem.operator.forward(x)  # (B, C, h, w)
        weight = self.precision * self.slope * self.problem.transform.derivative(seen.detach())
        if self.problem.fit.robust is not None:
            weight = weight * self.huber_weight(seen.detach(), loss_mask)
        return losses.weighted_squares(seen, self.y, weight * loss_mask)

    def huber_weight(self, seen: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Huber's weight of each pixel's residual, (B, C, h, w): 1 where the residual has a usual size.

        The usual size is taken over the pixels where `mask` is True.
        """
        bound = self.problem.fit.robust
        if bound is None:
            return torch.ones_like(seen)
        size = self.validation_weight.sqrt() * (seen - self.y).abs()
        return losses.huber_weight(size, bound * losses.typical_size(size, mask))
