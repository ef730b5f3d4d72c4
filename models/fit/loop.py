"""One fit of a prior network to a window, from its first iteration to its last.

`fit_window` is the whole of it. `advance` is one iteration of any number of fits side by side, so that
`glassplate.models.batching` runs many of them on one device by the same code.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from glassplate.models.device.arithmetic import activation_dtype, activation_layout
from glassplate.models.fit.adam import Adam
from glassplate.models.fit.average import Average
from glassplate.models.fit.inputs import Draw, Input
from glassplate.models.fit.log import FitLog, FitResult, Reading, Record
from glassplate.models.fit.objective import Objective
from glassplate.models.fit.problem import Measurement, Problem, Weights
from glassplate.models.fit.score import Score
from glassplate.models.fit.window import Window
from glassplate.models.networks.make import make_network
from glassplate.models.stacked_state import StackedState

# Factor on the learning rate when a fit that diverged starts again.
RETRY_RATE = 0.1


def fit_window(
    measurement: Measurement,
    problem: Problem,
    on_record: Callable[[Record], None] | None = None,
    *,
    start: Weights | None = None,
    rate: float = 1.0,
) -> FitResult:
    """Fit a prior network to one window. The caller enters `Numerics.applied`.

    Parameters
    ----------
    measurement
        The window; at least one pixel is valid.
    problem
        How it is fitted.
    on_record
        Called with each record of the log as it is made.
    start
        Weights that the network starts from; None for random ones.
    rate
        Factor on `FitSettings.learning_rate`.

    Raises
    ------
    FloatingPointError
        If the fit diverges: its data term is no longer finite.
    """
    log = FitLog(problem, time.perf_counter())
    state, network = begin(Window(measurement, problem), start, rate)
    while not log.ended:
        learning = [problem.fit.learns(log.iteration)]
        advance(state, network, learning)  # draw, forward, data term, backward, average
        log.iteration += 1
        if log.record_due:
            [reading] = state.read([0])
            record = log.add(reading)  # the stopping rule decides here
            if on_record is not None:
                on_record(record)
    return log.result()


def advance(state: FitState, networks: Networks, learning: Sequence[bool]) -> None:
    """Do one iteration of every fit. Nothing is read back, so the device is not waited for.

    `learning` says of each network whether it takes an optimiser step, or predicts only.
    """
    draw = state.input.draw()
    if any(learning):
        x, losses = descend(networks, state.score.objective, draw, learning)
    else:
        with torch.no_grad():
            x, losses = _forward(networks, state.score.objective, draw)
    state.average.add(x, draw.averaging_mask)
    state.loss_sum += losses
    state.loss_count += 1


def descend(
    networks: Networks, objective: Objective, draw: Draw, learning: Sequence[bool] = (True,)
) -> tuple[torch.Tensor, torch.Tensor]:
    """Take one optimiser step on the data term and the penalty, in those networks that learn.

    Returns
    -------
    x, losses
        The estimates before the step, (B, C, H, W) in source units, and their data terms, (B,).
    """
    x, losses = _forward(networks, objective, draw)
    networks.step(_total(x, losses, objective), learning)
    return x.detach(), losses.detach()


def gradients_of(
    network: Network, objective: Objective, draw: Draw, share: float
) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    """Gradients of a share of the data term and the penalty, and the data term, (1,); no weight changes."""
    x, losses = _forward(network, objective, draw)
    return network.gradients(share * _total(x, losses, objective)), losses.detach()


def _total(x: torch.Tensor, losses: torch.Tensor, objective: Objective) -> torch.Tensor:
    """What is descended, summed over all windows, ()."""
    return (losses + objective.penalty(x)).sum()


def _forward(
    networks: Networks, objective: Objective, draw: Draw
) -> tuple[torch.Tensor, torch.Tensor]:
    """Estimates, (B, C, H, W), and their data terms, (B,)."""
    numerics = objective.problem.numerics
    z = draw.z.to(activation_dtype(numerics)).contiguous(memory_format=activation_layout(numerics))
    x = objective.estimate(networks.paint(z))  # (B, C, H, W)
    return x, objective.data_term(x, draw.loss_mask)


def begin(
    window: Window, start: Weights | None = None, rate: float = 1.0
) -> tuple[FitState, Network]:
    """Make the state and the network of a window's fit before its first iteration."""
    state = FitState(window.score, window.input(), warm_start=start is not None)
    learning_rate = rate * window.problem.fit.learning_rate
    network = Network.for_window(
        window, state.input.channels, learning_rate, start, window.generator
    )
    return state, network


class FitState(StackedState):
    """What an iteration reads and changes of its windows, apart from the networks.

    Parameters
    ----------
    score
        How averages are judged; it holds the objective.
    source
        The input of the networks.
    warm_start
        Whether the networks start from fitted weights.
    """

    def __init__(self, score: Score, source: Input, *, warm_start: bool) -> None:
        self.score, self.input = score, source
        problem, y = score.objective.problem, score.objective.y
        _, c, h, w = y.shape
        scale = problem.operator.scale
        shape = (1, c, h * scale, w * scale)
        self.average = Average(shape, y.device, problem.fit.average, warm_start=warm_start)
        # since the last record, (B,)
        self.loss_sum = torch.zeros(1, device=y.device)
        self.loss_count = torch.zeros(1, device=y.device)

    def read(self, slots: Sequence[int]) -> list[Reading]:
        """Read what records are made from, of these slots. This waits for the device."""
        means = self.average.value()  # (B, C, H, W)
        numbers = (
            self.loss_sum / self.loss_count,
            self.score.heldout_loss(means),
            self.score.chi2(means),
        )
        values = torch.stack(numbers, 1).tolist()  # (B, 3), in one transfer
        for slot in slots:
            self.loss_sum[slot] = self.loss_count[slot] = 0
        # a copy of each, so that keeping one does not keep all
        return [Reading(means[slot : slot + 1].clone(), *values[slot]) for slot in slots]


class Networks(Protocol):
    """Prior networks and their optimisers, one for each window; none depends on another."""

    def paint(self, z: torch.Tensor) -> torch.Tensor:
        """Map inputs (B, inputs, H', W') to outputs (B, C, H, W) float32."""

    def step(self, loss: torch.Tensor, learning: Sequence[bool]) -> None:
        """Let the optimiser of each network that learns take one step on a scalar, the sum over all."""


class Network:
    """One prior network and its Adam optimiser."""

    def __init__(self, module: torch.nn.Module, learning_rate: float) -> None:
        self.module, self.learning_rate = module, learning_rate
        self.optimiser = Adam(module, learning_rate)

    @classmethod
    def for_window(
        cls,
        window: Window,
        inputs: int,
        learning_rate: float,
        start: Weights | None,
        generator: torch.Generator,
    ) -> Network:
        """Make a network on the device for an input of so many channels; without `start` it is random."""
        problem = window.problem
        module = make_network(problem.network, inputs, window.channels, generator)
        # Torch's stub of Module.to leaves memory_format out.
        module.to(problem.numerics.device, memory_format=activation_layout(problem.numerics))  # type: ignore[call-overload]
        if start is not None:
            module.load_state_dict({name: torch.from_numpy(w) for name, w in start.items()})
        return cls(module, learning_rate)

    def paint(self, z: torch.Tensor) -> torch.Tensor:
        """Map an input (1, inputs, H', W') to an output (1, C, H, W) float32."""
        x: torch.Tensor = self.module(z)
        return x

    def step(self, loss: torch.Tensor, learning: Sequence[bool] = (True,)) -> None:
        """Take one optimiser step; it is one network, which learns."""
        self.optimiser.clear_gradients()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()

    def gradients(self, loss: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Gradients of a scalar by each weight; they are kept nowhere."""
        return torch.autograd.grad(loss, list(self.module.parameters()))

    def step_along(self, gradients: Sequence[tuple[torch.Tensor, ...]]) -> None:
        """Take one optimiser step against the sum of gradients, added in their order."""
        for parameter, first, *others in zip(self.module.parameters(), *gradients, strict=True):
            # the fused step takes it for granted that a gradient lies in memory as its weight does
            alike = first.stride() == parameter.stride()
            parameter.grad = first if alike else torch.empty_like(parameter).copy_(first)
            for gradient in others:
                parameter.grad += gradient
        self.optimiser.step()

    def set_learning_rate(self, rate: float) -> None:
        """Change the learning rate of the steps that follow."""
        self.optimiser.learning_rate = rate
