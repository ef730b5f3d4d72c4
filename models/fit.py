"""The loop: fit a batch of tiles, average, log, stop."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from glassplate.models.averaging import Average, Wandering
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

# Between the seeds of the members of an ensemble: odd, so that no two of 2^63 are alike, and with bits
# all over (2^64 over the golden ratio).
SEED_STEP = 0x9E3779B97F4A7C15
# Factor on the learning rate when a fit that ran to infinity starts again.
CAUTION = 0.1

# Axes of (1, C, H, W) along which an input may be turned round.
FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))

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
    ended: dict[int, list[Member]] = {place: [] for place in range(len(measurements))}
    running: dict[tuple[int, int], Fit] = {}
    waiting = deque(
        (place, number)
        for place, measurement in enumerate(measurements)
        for number in range(problem.fit.members)
        if measurement.valid.any()
    )
    with problem.numerics.applied():
        while waiting or running:
            while waiting and len(running) < problem.numerics.stack:
                place, number = waiting.popleft()
                running[place, number] = Fit(
                    _of_member(measurements[place], number), problem, start
                )
            for fit in running.values():
                fit.step()
            for (place, number), fit in list(running.items()):
                if not fit.due:
                    continue
                try:
                    record = fit.record()
                except FloatingPointError:
                    if fit.caution < 1:
                        raise
                    running[place, number] = Fit(fit.measurement, problem, start, CAUTION)
                    continue
                if on_record is not None:
                    on_record(place, record)
                if fit.ended:
                    ended[place].append(running.pop((place, number)).result(number))
        return [
            restoration(Window(measurements[place], problem), members)
            if members
            else _nothing_to_fit(measurements[place], problem)
            for place, members in ended.items()
        ]


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
            load(self.network, start)
        self.average = Average(problem.fit.average, settled=start is not None)
        self.wandering = Wandering() if problem.stopping.rule == "variance" else None
        self.total = torch.zeros((), device=problem.numerics.device)
        self.iteration = 0
        self.log: list[Record] = []
        self.decision = Decision(0, None)
        self.best = torch.empty(0)

    def step(self) -> None:
        """One iteration; nothing is read back, so the device is not waited for."""
        draw = self.source.draw()
        flip = self._flip() if self.problem.fit.flips else ()
        x, loss = descend(self.network, self.optimiser, self.window, draw, flip)
        self.average.add(x, draw.answered)
        if self.wandering is not None:
            self.wandering.add(self.problem.operator.forward(x), self.window.judging)
        self.total += loss
        self.iteration += 1

    def _flip(self) -> tuple[int, ...]:
        """Axes along which the network sees its input turned round in this iteration."""
        return FLIPS[int(torch.randint(len(FLIPS), (), generator=self.window.dice))]

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
        variance = self.wandering.value() if self.wandering is not None else math.nan
        self.log.append(
            Record(self.iteration, data_term, heldout_loss, surprise, variance, seconds)
        )
        self.decision = decide(self.log, self.problem.stopping, self.problem.fit.iterations)
        if self.decision.best == len(self.log) - 1:
            self.best = mean
        return self.log[-1]

    def result(self, number: int = 0) -> Member:
        """What the fit gave, as the log stands."""
        return Member(
            number=number,
            mean=self.best,
            log=tuple(self.log),
            best=self.log[self.decision.best],
            stop_reason=self.decision.reason or "iteration cap",
            seconds=time.perf_counter() - self.started,
        )


@dataclass(frozen=True)
class Member:
    """What one fit gave: alone, or one of an ensemble over the same window."""

    number: int
    mean: torch.Tensor
    """(1, C, H, W), source units: its average at the record that the stopping rule chose."""
    log: tuple[Record, ...]
    best: Record
    stop_reason: str
    seconds: float


def restoration(window: Window, members: Sequence[Member]) -> Restoration:
    """Average what the members of an ensemble gave; one alone is its own average."""
    members = sorted(members, key=lambda member: member.number)
    first = members[0]
    means = torch.stack([member.mean for member in members])  # (members, 1, C, H, W)
    mean = means.mean(0)
    answer = window.answer(mean)
    return Restoration(
        values=answer.values,
        uncertainty=window.uncertainty(means) if window.problem.fit.uncertainty else None,
        log=tuple(record for member in members for record in member.log),
        iterations=sum(member.log[-1].iteration for member in members),
        best_iteration=first.best.iteration,
        stop_reason=first.stop_reason,
        heldout_loss=sum(member.best.heldout_loss for member in members) / len(members),
        chi2=window.surprise(mean),
        guarded=answer.guarded,
        whiteness=window.whiteness(mean),
        seconds=sum(member.seconds for member in members),
    )


def _of_member(measurement: Measurement, number: int) -> Measurement:
    """The measurement with the dice of one member; those of the first are its own."""
    return replace(measurement, seed=(measurement.seed + number * SEED_STEP) % 2**63)


def begin(
    window: Window, source: Input, dice: torch.Generator, rate: float
) -> tuple[PriorNetwork, torch.optim.Optimizer]:
    """Make a prior network with random weights and its optimiser, on the device."""
    settings, numerics = window.problem.network, window.problem.numerics
    network = make_network(settings, source.channels, window.channels, dice)
    # Torch's stub of Module.to leaves memory_format out.
    network = network.to(numerics.device, memory_format=numerics.layout)  # type: ignore[call-overload]
    return network, torch.optim.Adam(network.parameters(), lr=rate, fused=True)


def load(network: PriorNetwork, start: Weights) -> None:
    """Give a network the weights of another of its kind."""
    network.load_state_dict({name: torch.from_numpy(weight) for name, weight in start.items()})


def descend(
    network: PriorNetwork,
    optimiser: torch.optim.Optimizer,
    window: Window,
    draw: Draw,
    flip: tuple[int, ...] = (),
) -> tuple[torch.Tensor, torch.Tensor]:
    """One optimiser step on the data term and the penalty, the input flipped along the axes named.

    Returns
    -------
    x, loss
        The estimate before the step, (1, C, H, W) in source units, and its data term, a scalar.
    """
    numerics = window.problem.numerics
    z = draw.z.to(numerics.dtype).contiguous(memory_format=numerics.layout)
    x = window.estimate(network(z.flip(flip)).flip(flip))
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
    unknown = np.full_like(values, nan) if problem.fit.uncertainty else None
    return Restoration(values, unknown, (), 0, 0, "no valid pixels", nan, nan, 0, nan, 0.0)


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
    guide_shape = (problem.guide_channels, *window_shape[1:])
    guide = rng.random(guide_shape, dtype=np.float32) if problem.guide_channels else None
    trial = Measurement(values, np.ones(window_shape, bool), None, 0, guide)
    # The first iterations allocate and choose kernels; they are not counted.
    fit = replace(problem.fit, iterations=6, log_period=2, members=1)
    stopping = replace(problem.stopping, rule="fixed")
    [result] = fit_batch([trial], replace(problem, fit=fit, stopping=stopping))
    return (result.log[-1].seconds - result.log[0].seconds) / 4
