"""A donor: one prior network fitted to windows all over an image, from which every tile's fit starts.

Untrained like the rest, and of this image alone. Where a tile's network starts from the donor's weights
it needs a few dozen iterations instead of hundreds, and over-fits less, since the donor saw more pixels
than the tile has (docs/design/005-speed.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from glassplate.models.batching.networks_together import Begun, Separate
from glassplate.models.fit.loop import CAUTION
from glassplate.models.fit.member import begin, load
from glassplate.models.fit.problem import Measurement, Problem, Weights
from glassplate.models.fit.stack import descend
from glassplate.models.fit.window import Window
from glassplate.models.networks import make as networks

# The learning rate falls to this share of itself along a cosine: the last steps settle.
LAST_RATE = 0.1

OnLoss = Callable[[int, float], None]


@dataclass(frozen=True)
class DonorSettings:
    """Warm starts: when, and from what."""

    __pydantic_config__ = {"extra": "forbid"}

    tiles: int = 4
    """Fewest tiles of an image for which a donor is fitted; 0 for never."""
    iterations: int = 1000
    """Optimiser steps of the donor, each on one of its windows; at most `fit.iterations`."""
    windows: int = 32
    """Windows of 128x128 pixels, spread over the image, that it is fitted to."""
    tile_iterations: int = 200
    """Cap on optimiser steps of a tile that starts from the donor; at most `fit.iterations`."""
    tile_learning_rate: float = 0.003
    """Adam's step size there."""
    refine: int = 100
    """Optimiser steps that a donor taken over from another result (`--donor`, `sequence` of a job) is fitted
    on to this image, at `tile_learning_rate`; 0 to take it as it is; at most `fit.iterations`."""

    def __post_init__(self) -> None:
        for name in ("iterations", "windows", "tile_iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        if self.refine < 0:
            raise ValueError(f"refine is {self.refine}, must be at least 0")
        if not self.tile_learning_rate > 0:
            raise ValueError(f"tile_learning_rate is {self.tile_learning_rate}, must be above 0")


def warm(problem: Problem, settings: DonorSettings) -> Problem:
    """The problem of a tile that starts from a donor: fewer and smaller steps, and less patience."""
    steps = min(settings.tile_iterations, problem.fit.iterations)
    fit = replace(problem.fit, iterations=steps, learning_rate=settings.tile_learning_rate)
    # a third of the run without a better prediction is as telling as hundreds of steps of a cold one
    third = max(1, steps // 3)
    stopping = replace(
        problem.stopping,
        patience=min(problem.stopping.patience, third),
        minimum=min(problem.stopping.minimum, third),
    )
    return replace(problem, fit=fit, stopping=stopping)


def donor_iterations(problem: Problem, settings: DonorSettings, *, inherited: bool = False) -> int:
    """Optimiser steps of the donor, from random weights or from those of another image's."""
    wished = settings.refine if inherited else settings.iterations
    return min(wished, problem.fit.iterations)


def weight_shapes(problem: Problem, channels: int) -> dict[str, tuple[int, ...]]:
    """Shapes of a donor's weights: a blind-spot input has one channel for what is kept, and the guide's."""
    inputs = channels + 1 + problem.guide_channels
    return networks.weight_shapes(problem.network, inputs, channels)


def fit_donor(
    measurements: Sequence[Measurement],
    problem: Problem,
    settings: DonorSettings,
    on_loss: OnLoss | None = None,
    *,
    start: Weights | None = None,
) -> Weights:
    """Fit one network to many windows, a random one at each iteration.

    Parameters
    ----------
    measurements
        Windows of one channel count; at least one with a valid pixel. The seed of the first decides
        the order and the weights at the start.
    problem
        What tiles that start from random weights are fitted by.
    settings
        How long.
    on_loss
        Called once a log period with the iteration and the mean data term since the last call.
    start
        Weights of an earlier donor of the same network, which `DonorSettings.refine` smaller steps fit on
        to these windows; None for random ones.

    Returns
    -------
    Weights for `fit_batch`. On the same device, software and thread count the same measurements give
    the same bytes.

    Raises
    ------
    FloatingPointError
        If the fit runs to infinity, and again with a tenth of the learning rate.
    """
    usable = [measurement for measurement in measurements if measurement.valid.any()]
    if not usable:
        raise ValueError("donor: none of its windows has a valid pixel")
    # always alone, whatever the tiles are
    problem = replace(problem, numerics=replace(problem.numerics, stack=1))
    with problem.numerics.applied():
        inherited = start is not None
        iterations = donor_iterations(problem, settings, inherited=inherited)
        rate = settings.tile_learning_rate if inherited else problem.fit.learning_rate
        try:
            return _fit(usable, problem, _Course(iterations, rate, start), on_loss)
        except FloatingPointError:
            return _fit(usable, problem, _Course(iterations, CAUTION * rate, start), on_loss)


@dataclass(frozen=True)
class _Course:
    """How a donor is fitted."""

    iterations: int
    rate: float
    """Learning rate of the first step."""
    start: Weights | None


def _fit(
    measurements: Sequence[Measurement],
    problem: Problem,
    course: _Course,
    on_loss: OnLoss | None,
) -> Weights:
    dice = torch.Generator().manual_seed(measurements[0].seed)
    windows = [Window(measurement, problem) for measurement in measurements]
    sources = [window.input() for window in windows]
    network = begin(windows[0], sources[0].channels, dice)
    if course.start is not None:
        load(network, course.start)
    alone = Separate([Begun(network, course.rate)])
    total, counted = torch.zeros((), device=problem.numerics.device), 0
    for iteration in range(1, course.iterations + 1):
        share = 0.5 + 0.5 * math.cos(math.pi * iteration / course.iterations)
        alone.set_rate(course.rate * (LAST_RATE + (1 - LAST_RATE) * share))
        place = int(torch.randint(len(windows), (), generator=dice))
        _, [loss] = descend(alone, windows[place].objective, sources[place].draw())
        total += loss
        counted += 1
        if iteration % problem.fit.log_period and iteration != course.iterations:
            continue
        data_term = float(total) / counted
        if not math.isfinite(data_term):
            raise FloatingPointError(
                f"donor: data term {data_term} at iteration {iteration}, must be finite; lower "
                f"fit.learning_rate from {problem.fit.learning_rate:g}"
            )
        total.zero_()
        counted = 0
        if on_loss is not None:
            on_loss(iteration, data_term)
    return {name: weight.cpu().numpy() for name, weight in network.state_dict().items()}
