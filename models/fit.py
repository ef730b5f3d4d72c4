"""The loop: fit a batch of tiles, average, log, stop."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from glassplate.models.averaging import Average
from glassplate.models.costs import projected_bytes
from glassplate.models.inputs import Draw, Input
from glassplate.models.networks import PriorNetwork, make_network
from glassplate.models.problem import (
    FitSettings,
    Measurement,
    Problem,
    Record,
    Restoration,
    Weights,
)
from glassplate.models.stopping import Decision, decide
from glassplate.models.window import Window

__all__ = [
    "Fit",
    "FitSettings",
    "Measurement",
    "Problem",
    "Record",
    "Restoration",
    "Weights",
    "fit_batch",
    "projected_bytes",
    "seconds_per_iteration",
]

# Factor on the learning rate when a fit that ran to infinity starts again.
CAUTION = 0.1

OnRecord = Callable[[int, Record], None]


def fit_batch(
    measurements: Sequence[Measurement],
    problem: Problem,
    on_record: OnRecord | None = None,
    *,
    start: Weights | None = None,
) -> list[Restoration]:
    """Restore the windows of one batch, `problem.numerics.stack` of them at a time.

    Parameters
    ----------
    measurements
        Windows of any size from 1x1, any pattern of valid pixels.
    problem
        What they share.
    on_record
        Called with the window's position in the batch and each record as it is made. A fit that starts
        again (see Raises) reports its iterations again.
    start
        Weights that every fit starts from, such as a donor's; None for random ones.

    Returns
    -------
    One restoration per measurement, in order. On the same device, software and thread count the same
    measurement gives the same bytes, whatever else is in the batch and however many advance together.

    Raises
    ------
    FloatingPointError
        If a fit runs to infinity, and again with a tenth of the learning rate.
    """
    results: dict[int, Restoration] = {}
    running: dict[int, Fit] = {}
    waiting = deque(enumerate(measurements))
    with problem.numerics.applied():
        while waiting or running:
            while waiting and len(running) < problem.numerics.stack:
                position, measurement = waiting.popleft()
                if measurement.valid.any():
                    running[position] = Fit(measurement, problem, start)
                else:
                    results[position] = _nothing_to_fit(measurement, problem)
            for fit in running.values():
                fit.step()
            for position, fit in list(running.items()):
                if not fit.due:
                    continue
                try:
                    record = fit.record()
                except FloatingPointError:
                    if fit.caution < 1:
                        raise
                    running[position] = Fit(fit.measurement, problem, start, CAUTION)
                    continue
                if on_record is not None:
                    on_record(position, record)
                if fit.ended:
                    results[position] = running.pop(position).restoration()
    return [results[position] for position in range(len(measurements))]


class Fit:
    """One window's prior network while it is fitted: step by step, a record once a period.

    Parameters
    ----------
    measurement
        The window; at least one pixel valid.
    problem
        How it is fitted. `Numerics.applied` is the caller's to enter.
    start
        Weights that the network starts from; None for random ones.
    caution
        Factor on the learning rate.
    """

    def __init__(
        self,
        measurement: Measurement,
        problem: Problem,
        start: Weights | None = None,
        caution: float = 1.0,
    ) -> None:
        self.started = time.perf_counter()
        self.measurement, self.problem, self.caution = measurement, problem, caution
        self.window = Window(measurement, problem)
        self.source = self.window.input()
        self.network, self.optimiser = begin(
            self.window, self.source, self.window.dice, caution * problem.fit.learning_rate
        )
        if start is not None:
            weights = {name: torch.from_numpy(weight) for name, weight in start.items()}
            self.network.load_state_dict(weights)
        self.average = Average(problem.fit.average, settled=start is not None)
        self.total = torch.zeros((), device=problem.numerics.device)
        self.iteration = 0
        self.log: list[Record] = []
        self.decision = Decision(0, None)
        self.best = torch.empty(0)

    def step(self) -> None:
        """One iteration; nothing is read back, so the device is not waited for."""
        draw = self.source.draw()
        x, loss = descend(self.network, self.optimiser, self.window, draw)
        self.average.add(x, draw.answered)
        self.total += loss
        self.iteration += 1

    @property
    def due(self) -> bool:
        """Whether a record is to be made now."""
        settings = self.problem.fit
        return self.iteration % settings.log_period == 0 or self.iteration == settings.iterations

    @property
    def ended(self) -> bool:
        """Whether the stopping rule has said so."""
        return self.decision.reason is not None

    def record(self) -> Record:
        """Read the loss, judge the average, let the stopping rule decide."""
        mean = self.average.value()  # (1, C, H, W), source units
        since = self.iteration - (self.log[-1].iteration if self.log else 0)
        data_term = float(self.total) / since
        self.total.zero_()
        if not math.isfinite(data_term):
            raise FloatingPointError(
                f"fit: data term {data_term} at iteration {self.iteration}, must be finite; lower "
                f"fit.learning_rate from {self.problem.fit.learning_rate:g}"
            )
        heldout_loss, surprise = self.window.judge(mean)
        seconds = time.perf_counter() - self.started
        self.log.append(Record(self.iteration, data_term, heldout_loss, surprise, seconds))
        self.decision = decide(self.log, self.problem.stopping, self.problem.fit.iterations)
        if self.decision.best == len(self.log) - 1:
            self.best = mean
        return self.log[-1]

    def restoration(self) -> Restoration:
        """What the fit gave, as the log stands."""
        record = self.log[self.decision.best]
        return Restoration(
            values=self.window.answer(self.best),
            log=tuple(self.log),
            iterations=self.log[-1].iteration,
            best_iteration=record.iteration,
            stop_reason=self.decision.reason or "iteration cap",
            heldout_loss=record.heldout_loss,
            chi2=record.chi2,
            whiteness=self.window.whiteness(self.best),
            seconds=time.perf_counter() - self.started,
        )


def begin(
    window: Window, source: Input, dice: torch.Generator, rate: float
) -> tuple[PriorNetwork, torch.optim.Optimizer]:
    """Make a prior network with random weights and its optimiser, on the device."""
    settings, numerics = window.problem.network, window.problem.numerics
    network = make_network(settings, source.channels, window.channels, dice)
    # Torch's stub of Module.to leaves memory_format out.
    network = network.to(numerics.device, memory_format=numerics.layout)  # type: ignore[call-overload]
    return network, torch.optim.Adam(network.parameters(), lr=rate, fused=True)


def descend(
    network: PriorNetwork, optimiser: torch.optim.Optimizer, window: Window, draw: Draw
) -> tuple[torch.Tensor, torch.Tensor]:
    """One optimiser step on the data term and the penalty.

    Returns
    -------
    x, loss
        The estimate before the step, (1, C, H, W) in source units, and its data term, a scalar.
    """
    numerics = window.problem.numerics
    z = draw.z.to(numerics.dtype).contiguous(memory_format=numerics.layout)
    x = window.estimate(network(z))
    loss = window.data_term(x, draw.asked)
    optimiser.zero_grad(set_to_none=True)
    (loss + window.penalty(x)).backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return x.detach(), loss.detach()


def _nothing_to_fit(measurement: Measurement, problem: Problem) -> Restoration:
    """A window without a valid pixel: the transform's offset everywhere."""
    c, h, w = measurement.values.shape
    scale, nan = problem.operator.scale, math.nan
    values = np.full((c, h * scale, w * scale), problem.transform.offset, np.float32)
    return Restoration(values, (), 0, 0, "no valid pixels", nan, nan, nan, 0.0)


def seconds_per_iteration(problem: Problem, window_shape: tuple[int, int, int]) -> float:
    """Measure one iteration on this machine by a short trial on random pixels.

    Parameters
    ----------
    problem
        What would be fitted.
    window_shape
        ``(c, h, w)`` of a window, in pixels of the measurement.
    """
    rng = np.random.default_rng(0)
    values = rng.random(window_shape, dtype=np.float32)
    values = problem.transform.inverse(values).astype(np.float32)
    trial = Measurement(values, np.ones(window_shape, bool), None, 0)
    # The first iterations allocate and choose kernels; they are not counted.
    fit = replace(problem.fit, iterations=6, log_period=2)
    stopping = replace(problem.stopping, rule="fixed")
    [result] = fit_batch([trial], replace(problem, fit=fit, stopping=stopping))
    return (result.log[-1].seconds - result.log[0].seconds) / 4
