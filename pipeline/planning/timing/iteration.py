"""Time of one iteration of a fit on this machine, by trials on windows as small as is still meaningful.

The times that `glassplate plan` and `glassplate doctor` report start from these (docs/design/012-doctor.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from glassplate.models.batching.iteration_time import seconds_per_iteration
from glassplate.models.fit.problem import Problem
from glassplate.models.fit.settings import FitSettings
from glassplate.models.fit.stopping import StoppingSettings
from glassplate.models.networks.make import padded_size

# Side of the first trial's window, pixels of the estimate. It is doubled until an iteration takes
# LEAST_TRIAL_S, so that the cost that does not depend on the window is a small part of it, or until it is
# the whole window, as on a GPU (docs/design/012-doctor.md).
FIRST_TRIAL = 64
LEAST_TRIAL_S = 0.035
# Trials on each window, of which the shortest counts: a longer one was slowed by another program.
TRIALS = 2

WindowShape: TypeAlias = tuple[int, int, int]
"""``(c, h, w)``, pixels of the measurement."""
Timer: TypeAlias = Callable[[Problem, WindowShape], float]
"""Seconds of one iteration of a problem on a window of some shape."""


@dataclass(frozen=True)
class Trial:
    """A timed iteration."""

    problem: Problem
    shape: tuple[int, int]
    """Height and width of the window, pixels of the measurement."""
    seconds: float
    """The shortest of `TRIALS` iterations."""

    def seconds_on(self, shape: tuple[int, int]) -> float:
        """Seconds of one iteration on a window of another size, in proportion to the pixels painted."""
        return self.seconds * _painted(self.problem, shape) / _painted(self.problem, self.shape)


def _painted(problem: Problem, shape: tuple[int, int]) -> int:
    """Pixels that the network paints for a window: the estimate, and the network's padding.

    A network of seven scales paints 256x256 for a window of 64x64.
    """
    scale = problem.operator.scale
    rows, columns = padded_size(problem.network, shape[0] * scale, shape[1] * scale)
    return rows * columns


def time_window(
    problem: Problem,
    window_shape: WindowShape,
    time_iteration: Timer = seconds_per_iteration,
) -> Trial:
    """Time an iteration on larger and larger windows, until it takes `LEAST_TRIAL_S`.

    Parameters
    ----------
    problem
        What is to be fitted.
    window_shape
        Shape of its window; no larger one is tried.
    time_iteration
        Measures the time of an iteration.
    """
    problem = timed_problem(problem)
    channels, height, width = window_shape
    side = max(1, FIRST_TRIAL // problem.operator.scale)
    if problem.input == "cross-scale":
        # it is one step, and quick: on a small window most of it does not depend on the pixels
        side = max(height, width)
    while True:
        shape = min(side, height), min(side, width)
        seconds = min(time_iteration(problem, (channels, *shape)) for _ in range(TRIALS))
        if seconds >= LEAST_TRIAL_S or shape == (height, width):
            return Trial(problem, shape, seconds)
        side *= 2


def timed_problem(problem: Problem) -> Problem:
    """The problem without the settings that change no iteration's time, so that equal times compare equal."""
    fit, usual = problem.fit, FitSettings()
    return replace(
        problem,
        stopping=StoppingSettings(rule="fixed"),
        fit=replace(
            fit,
            iterations=usual.iterations,
            predictions=0,
            learning_rate=usual.learning_rate,
            average=usual.average,
            log_period=usual.log_period,
            members=1,
            # what follows the prediction takes about as long
            posterior=fit.posterior and problem.input == "cross-scale",
            posterior_radius=usual.posterior_radius,
            posterior_doubt=usual.posterior_doubt,
            collaborative=False,
            filter_passes=1,
            guard=None,
            uncertainty=False,
        ),
    )
