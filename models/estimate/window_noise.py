"""The noise of a window, by the model and as an average of its fit shows it."""

from __future__ import annotations

import torch

from glassplate.models.estimate.seen_noise import by_brightness, seen_noise
from glassplate.models.fit.window import Window

# Times the bound of Huber's loss from which a pixel is no measurement of the scene: with the usual 1.5,
# 4.5 typical residuals.
OUTLIER_BOUND = 3.0


def seen_components(window: Window, mean: torch.Tensor) -> torch.Tensor | None:
    """Noise that a blind average shows where it is correlated, (1, C); None where the model's is taken.

    The model's is taken where faint sources are guarded too: no surroundings predict a faint star, so that
    the residual of a crowded field is mostly light.
    """
    if not shows_its_noise(window):
        return None
    return seen_noise(mean, window.y, variance_at(window, mean, mean), trusted_pixels(window, mean))


def shows_its_noise(window: Window) -> bool:
    """Whether the noise is taken from the residual of a blind average and not from the model alone."""
    problem = window.problem
    blind = problem.input == "blindspot"
    return problem.noise.correlated and blind and problem.fit.guard is None


def variance_at(window: Window, mean: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """Variance of the noise at a level, (1, C, h, w): the model's, by brightness as the average shows it."""
    variance = window.score.noise_variance(level)
    if not shows_its_noise(window):
        return variance
    at_mean = window.score.noise_variance(mean)
    return variance * by_brightness(mean, window.y, at_mean, trusted_pixels(window, mean))


def trusted_pixels(window: Window, mean: torch.Tensor) -> torch.Tensor:
    """Valid pixels that are no outliers, (1, C, h, w) bool."""
    valid = window.split.valid
    if window.problem.fit.robust is None:
        return valid
    seen = window.problem.operator.forward(mean)
    return valid & (window.objective.huber_weight(seen, valid) > 1 / OUTLIER_BOUND)
