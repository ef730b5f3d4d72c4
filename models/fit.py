"""The loop: fit a batch of tiles, average, log, stop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class FitSettings:
    """How a prior network is fitted to a tile."""

    __pydantic_config__ = {"extra": "forbid"}

    input: Literal["auto", "blindspot", "noise"] = "auto"
    """blindspot: the measurement with random pixels dropped; noise: the paper's fixed random code."""
    iterations: int = 1000
    """Cap on optimiser steps."""
    learning_rate: float = 0.01
    """Adam's step size."""
    drop: float = 0.3
    """Share of pixels dropped at each iteration (blindspot)."""
    input_depth: int = 32
    """Channels of the random code (noise)."""
    input_noise: float = 0.0333
    """Standard deviation of the noise added to the code at each iteration (noise)."""
    average: float = 0.99
    """Decay of the exponential average of the outputs, which is the answer."""
    posterior: bool = True
    """Give back each pixel's own measurement by Bayes' rule (blindspot)."""
    posterior_radius: float = 3.0
    """Gaussian radius, in pixels, over which the prior's variance is averaged (posterior)."""
    log_period: int = 25
    """Iterations between records of the log."""
