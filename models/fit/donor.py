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
from typing import Literal

import torch

from glassplate.models.fit.cross_scale import learn_to_double
from glassplate.models.fit.inputs import MORE_SQUARES
from glassplate.models.fit.loop import RETRY_RATE, Network, descend
from glassplate.models.fit.problem import SEED_STEP, Measurement, Problem, Weights
from glassplate.models.fit.second_process import SecondProcess, gradients_on_each, second_process
from glassplate.models.fit.window import Window
from glassplate.models.networks import make as networks
from glassplate.models.networks.settings import NetworkSettings

# The learning rate falls to this share of itself along a cosine, so that the weights converge.
LAST_RATE = 0.1

# Channels of an unshuffled network. Twelve photographs of Kodak as one image of 72 tiles, sigma 25, donor of
# 3000 steps, 20 steps a tile: 32 channels 30.62 dB, 48 30.76, 64 30.67, the lean network 30.67; seconds a
# tile 1.6, 2.2, 2.8 and 2.9.
UNSHUFFLED_CHANNELS = 48
# Windows of a donor: the least, and for each tile of an image that has more.
LEAST_WINDOWS, WINDOWS_A_TILE = 32, 4
# Steps of a donor of the fewest windows. With three times as many, the donor of one photograph of 512x512
# pixels learns its noise: the tiles lose 0.8 dB.
LEAST_ITERATIONS = 1000
# Tiles of an image up to which each takes all of `tile_iterations`, and tiles whose steps all tiles of a
# larger image share. Twelve photographs of Kodak as one image of 72 tiles, twelve of the tiles: a donor of
# 6000 steps and 50 a tile 31.62 dB, 12000 and 5 31.61, 12000 and 20 31.70, 24000 and 5 31.68.
THOROUGH_TILES, SHARED_TILES = 16, 8
# Windows from which a donor of many learns at each step, each in a process of its own. Twelve photographs of
# Kodak as one image, 12 000 windows in all: 31.34 dB with one a step and with two, 31.31 with four.
WINDOWS_A_STEP = 2
# Windows of a donor for which it takes `fit.iterations` steps at most.
WINDOWS_A_FIT = 24

OnIteration = Callable[[int], None]


@dataclass(frozen=True)
class DonorSettings:
    """When tiles start from a donor, and how the donor is fitted."""

    __pydantic_config__ = {"extra": "forbid"}

    tiles: int = 4
    """Fewest tiles of an image for which a donor is fitted; 0 for never."""
    network: Literal["same", "unshuffled"] = "same"
    """Network of the donor of an image of more than 16 tiles, and of these. same: that of the section
    network; unshuffled: its kind unshuffled with 48 channels, which takes 0.7 of the time and learns more
    from many windows, but over-fits few."""
    iterations: int = 1000
    """Most windows that the donor learns from, counting each visit: 1000 in images of up to 16 tiles, one at
    each optimiser step, and two at each in larger ones; fewer than the most with fewer windows; at most
    `fit.iterations` for each 24 windows."""
    windows: int = 32
    """Most windows of 128x128 pixels, spread over the image, that the donor is fitted to: 32 in images of up
    to 16 tiles, else four for each tile."""
    tile_iterations: int = 200
    """Most optimiser steps of a tile that starts from the donor, at most `fit.iterations`; see
    `tile_least`."""
    tile_least: int | None = None
    """Least of these steps: tiles of an image of more than 16 take fewer, so that all together take no more
    than 8 would, until each takes so few; none: all take `tile_iterations`. Three times as many, of this too,
    where the noise of neighbouring pixels is correlated, because each step then learns from a third of the
    pixels."""
    tile_predictions: int = 0
    """Predictions of a tile after them, each without other pixels, which enter its average (in images of more
    than 16 tiles)."""
    tile_passes: int = 1
    """Passes of the filter of similar blocks for a tile (`fit.filter_passes`; in images of more than 16
    tiles)."""
    tile_learning_rate: float = 0.003
    """Adam's step size of such a tile."""
    refine: int = 100
    """Optimiser steps on this image of a donor taken from another result (`--donor`, `sequence` of a job), at
    `tile_learning_rate`; 0 to take it as it is; at most `fit.iterations` for each 24 windows."""

    def __post_init__(self) -> None:
        for name in ("iterations", "windows", "tile_iterations", "tile_passes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        if self.tile_least is not None and self.tile_least < 1:
            raise ValueError(f"tile_least is {self.tile_least}, must be at least 1")
        for name in ("refine", "tile_predictions"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 0")
        if not self.tile_learning_rate > 0:
            raise ValueError(f"tile_learning_rate is {self.tile_learning_rate}, must be above 0")

    def for_tiles(self, tiles: int, *, correlated: bool = False) -> DonorSettings:
        """Settings of an image of so many tiles: the donor of a large one learns more for each of them."""
        if tiles <= THOROUGH_TILES:
            return replace(
                self,
                network="same",
                windows=min(self.windows, LEAST_WINDOWS),
                iterations=min(self.iterations, LEAST_ITERATIONS),
                tile_predictions=0,
                tile_passes=1,
            )
        windows = min(self.windows, max(LEAST_WINDOWS, WINDOWS_A_TILE * tiles))
        iterations = min(
            self.iterations, max(LEAST_ITERATIONS, self.iterations * windows // self.windows)
        )
        times = MORE_SQUARES if correlated else 1
        share = times * self.tile_iterations * SHARED_TILES // tiles
        least = self.tile_iterations if self.tile_least is None else times * self.tile_least
        steps = min(self.tile_iterations, max(least, share))
        return replace(self, windows=windows, iterations=iterations, tile_iterations=steps)


def with_donor_network(problem: Problem, settings: DonorSettings) -> Problem:
    """The problem with the network of a donor and of tiles that start from it."""
    return replace(problem, network=donor_network(problem.network, settings))


def donor_network(network: NetworkSettings, settings: DonorSettings) -> NetworkSettings:
    """The network of a donor in a recipe with this one."""
    if settings.network == "same" or network.kind == "enlarging":
        return network
    return replace(
        network,
        kind="unshuffled",
        channels=UNSHUFFLED_CHANNELS,
        fine_channels=UNSHUFFLED_CHANNELS,
        skip_channels=UNSHUFFLED_CHANNELS,
    )


def warm(problem: Problem, settings: DonorSettings) -> Problem:
    """The problem of a tile that starts from a donor: fewer, smaller steps and less patience."""
    problem = with_donor_network(problem, settings)
    if problem.input == "cross-scale":
        return problem  # a tile learns nothing
    steps = min(settings.tile_iterations, problem.fit.iterations)
    fit = replace(
        problem.fit,
        iterations=steps + settings.tile_predictions,
        predictions=settings.tile_predictions,
        learning_rate=settings.tile_learning_rate,
        filter_passes=settings.tile_passes,
    )
    # a third of the iterations without a better loss says as much as hundreds from random weights
    third = max(1, steps // 3)
    stopping = replace(
        problem.stopping,
        patience=min(problem.stopping.patience, third),
        minimum=min(problem.stopping.minimum, third),
    )
    return replace(problem, fit=fit, stopping=stopping)


def donor_iterations(problem: Problem, settings: DonorSettings, *, inherited: bool = False) -> int:
    """Optimiser steps of the donor, from random weights or from those of another image's donor."""
    steps = settings.refine if inherited else settings.iterations
    return min(steps, most_steps(problem.fit.iterations, settings))


def most_steps(iterations: int, settings: DonorSettings) -> int:
    """Bound of a donor's steps: the cap of a fit, for each `WINDOWS_A_FIT` of its windows."""
    return iterations * max(settings.windows, WINDOWS_A_FIT) // WINDOWS_A_FIT


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
    with problem.numerics.applied():
        inherited = start is not None
        iterations = donor_iterations(problem, settings, inherited=inherited)
        rate = settings.tile_learning_rate if inherited else problem.fit.learning_rate
        at_once = windows_a_step(problem, settings, inherited=inherited)
        try:
            return _fit(usable, problem, _Steps(iterations, at_once, rate, start), on_iteration)
        except FloatingPointError:
            slower = _Steps(iterations, at_once, RETRY_RATE * rate, start)
            return _fit(usable, problem, slower, on_iteration)


def windows_a_step(problem: Problem, settings: DonorSettings, *, inherited: bool = False) -> int:
    """Windows from which a donor learns at each of its steps: several where there are many to learn from."""
    alone = inherited or problem.input == "cross-scale" or settings.windows <= LEAST_WINDOWS
    return 1 if alone else WINDOWS_A_STEP


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
