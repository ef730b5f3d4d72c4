"""A donor: one prior network fitted to windows all over an image, from whose weights its tiles start.

The donor is fitted to this image alone. A tile's network that starts from the donor's weights needs a few
dozen iterations instead of hundreds, and over-fits less, because the donor saw more pixels than the tile has
(docs/design/005-speed.md). The more tiles an image has, the more the donor learns for all of them, and the
less each learns by itself (docs/design/019-throughput.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from glassplate.models.device.arithmetic import applied
from glassplate.models.donor.donor_problem import (
    donor_iterations,
    windows_a_step,
    with_donor_network,
)
from glassplate.models.donor.second_process import SecondProcess, gradients_on_each, second_process
from glassplate.models.fit.cross_scale import learn_to_double
from glassplate.models.fit.loop import RETRY_RATE, Network, descend
from glassplate.models.fit.problem import SEED_STEP, Measurement, Problem, Weights
from glassplate.models.fit.settings import DonorSettings
from glassplate.models.fit.window import Window
from glassplate.models.networks import make as networks

# The learning rate falls to this share of itself along a cosine, so that the weights converge.
LAST_RATE = 0.1

OnIteration = Callable[[int], None]


def weight_shapes(problem: Problem, channels: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights of a problem's network, for a blind-spot input with so many channels."""
    # one more channel for the share of channels kept, but where the network learns from whole images
    inputs = channels + (problem.input != "cross-scale") + problem.guide_channels
    return networks.weight_shapes(problem.network, inputs, channels)


def fit_donor(
    measurements: Sequence[Measurement],
    problem: Problem,
    settings: DonorSettings,
    on_iteration: OnIteration | None = None,
    *,
    start: Weights | None = None,
) -> Weights:
    """Fit one network to many windows, a random one at each iteration, some iterations side by side.

    Parameters
    ----------
    measurements
        Windows of one channel count; at least one has a valid pixel. The seed of the first decides the order
        and the first weights.
    problem
        How tiles are fitted that start from random weights.
    settings
        How long the donor is fitted.
    on_iteration
        Called once a log period with the number of the iteration.
    start
        Weights of an earlier donor of the same network, refined by `DonorSettings.refine` smaller steps; None
        for random ones.

    Returns
    -------
    Weights that fits start from. On the same device, software and thread count the same measurements give
    the same bytes.

    Raises
    ------
    FloatingPointError
        If the fit diverges, and again with a tenth of the learning rate.
    """
    usable = [measurement for measurement in measurements if measurement.valid.any()]
    if not usable:
        raise ValueError("donor: none of its windows has a valid pixel")
    # always alone, whatever the tiles' stack is
    problem = with_donor_network(problem, settings)
    problem = replace(problem, numerics=replace(problem.numerics, stack=1))
    with applied(problem.numerics):
        inherited = start is not None
        iterations = donor_iterations(problem, settings, inherited=inherited)
        rate = settings.tile_learning_rate if inherited else problem.fit.learning_rate
        at_once = windows_a_step(problem, settings, inherited=inherited)
        try:
            return _fit(usable, problem, _Steps(iterations, at_once, rate, start), on_iteration)
        except FloatingPointError:
            slower = _Steps(iterations, at_once, RETRY_RATE * rate, start)
            return _fit(usable, problem, slower, on_iteration)


@dataclass(frozen=True)
class _Steps:
    """The optimiser steps of a donor."""

    iterations: int
    """Windows that it learns from, one visit after the other."""
    at_once: int
    """Windows of one step."""
    learning_rate: float
    """Of the first step."""
    start: Weights | None

    def learning_rate_at(self, iteration: int) -> float:
        """Learning rate of a step: it falls along a cosine to `LAST_RATE` of the first."""
        cosine = 0.5 + 0.5 * math.cos(math.pi * iteration / self.iterations)
        return self.learning_rate * (LAST_RATE + (1 - LAST_RATE) * cosine)

    def is_due(self, before: int, now: int, period: int) -> bool:
        """Whether a log period or the fit has ended since the step before."""
        return before // period < now // period or now == self.iterations


def _fit(
    measurements: Sequence[Measurement],
    problem: Problem,
    steps: _Steps,
    on_iteration: OnIteration | None,
) -> Weights:
    generator = torch.Generator().manual_seed(measurements[0].seed)
    first = Window(measurements[0], problem)
    cross_scale = problem.input == "cross-scale"
    inputs = first.channels if cross_scale else first.input().channels
    network = Network.for_window(first, inputs, steps.learning_rate, steps.start, generator)
    loss_sum, count = torch.zeros((), device=problem.numerics.device), 0
    with _learning(network, problem, steps.at_once, first) as learn:
        for done in range(0, steps.iterations, steps.at_once):
            iteration = min(done + steps.at_once, steps.iterations)
            network.set_learning_rate(steps.learning_rate_at(iteration))
            losses = learn(
                [
                    _visit(measurements, number, generator)
                    for number in range(done + 1, iteration + 1)
                ]
            )
            loss_sum += losses.mean()
            count += 1
            if not steps.is_due(done, iteration, problem.fit.log_period):
                continue
            data_term = float(loss_sum) / count
            if not math.isfinite(data_term):
                raise FloatingPointError(
                    f"donor: data term {data_term} at iteration {iteration}, must be finite; lower "
                    f"fit.learning_rate from {problem.fit.learning_rate:g}"
                )
            loss_sum.zero_()
            count = 0
            if on_iteration is not None:
                on_iteration(iteration)
    return {name: weight.cpu().numpy() for name, weight in network.module.state_dict().items()}


def _visit(
    measurements: Sequence[Measurement], number: int, generator: torch.Generator
) -> Measurement:
    """A random window, with other random numbers at each visit.

    It is made anew each time: hundreds of windows would take a gigabyte.
    """
    measurement = measurements[int(torch.randint(len(measurements), (), generator=generator))]
    return replace(measurement, seed=(measurement.seed + number * SEED_STEP) % 2**63)


@contextmanager
def _learning(
    network: Network, problem: Problem, at_once: int, first: Window
) -> Iterator[Callable[[Sequence[Measurement]], torch.Tensor]]:
    """Give what takes one optimiser step on so many windows, like the first, and returns their data terms."""
    if problem.input == "cross-scale":
        yield lambda visits: learn_to_double(network, visits[0], problem)
    elif at_once == 1:
        yield lambda visits: _learn_to_predict(network, visits[0], problem)
    else:
        channels = first.input().channels, first.channels
        with second_process(network, problem, channels) as second:
            yield lambda visits: _learn_from_several(network, visits, problem, second)


def _learn_from_several(
    network: Network,
    measurements: Sequence[Measurement],
    problem: Problem,
    second: SecondProcess | None,
) -> torch.Tensor:
    """Take one optimiser step along the mean gradient; return the data terms before it, (B,)."""
    found = gradients_on_each(network, problem, measurements, second)
    network.step_along([of_one.gradients for of_one in found])
    return torch.cat([of_one.losses for of_one in found])


def _learn_to_predict(network: Network, measurement: Measurement, problem: Problem) -> torch.Tensor:
    """Take one optimiser step on a window; return the data term before it, (1,)."""
    window = Window(measurement, problem)
    _, losses = descend(network, window.objective, window.input().draw())
    return losses
