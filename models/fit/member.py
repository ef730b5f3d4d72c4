"""One fit of a window: its log, its stop, its answer; and what several of the same window say together."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from glassplate.models.batching.networks_together import Begun
from glassplate.models.batching.slots import Dice
from glassplate.models.estimate.similar_blocks import Filtered
from glassplate.models.fit.problem import Measurement, Problem, Record, Restoration, Weights
from glassplate.models.fit.stack import Reading, State
from glassplate.models.fit.stopping import Decision, decide
from glassplate.models.fit.window import Window, filtered
from glassplate.models.networks.make import make_network

# Between the seeds of the members of an ensemble: odd, so that no two of 2^63 are alike, and with bits
# all over (2^64 over the golden ratio).
SEED_STEP = 0x9E3779B97F4A7C15


class Start:
    """A fit before its first iteration, on the device.

    Parameters
    ----------
    measurement
        The window; at least one pixel valid.
    problem
        How it is fitted. `Numerics.applied` is the caller's to enter.
    weights
        Those that the network starts from; None for random ones.
    caution
        Factor on the learning rate.
    """

    def __init__(
        self,
        measurement: Measurement,
        problem: Problem,
        weights: Weights | None = None,
        caution: float = 1.0,
    ) -> None:
        self.window, self.settled = Window(measurement, problem), weights is not None
        self.source = self.window.input()
        self.network = begin(self.window, self.source.channels, self.window.dice)
        if weights is not None:
            load(self.network, weights)
        self.rate = caution * problem.fit.learning_rate

    def begun(self) -> tuple[State, Begun]:
        """State and network, for a slot of a stack."""
        dice = Dice([self.window.dice])
        state = State(self.window.judge, self.source, self.settled, dice)
        return state, Begun(self.network, self.rate)


class Fit:
    """What is known of one fit while it goes on, beside what a `Stack` holds of it on the device.

    Parameters
    ----------
    problem
        How the window is fitted.
    slots
        Fits that may advance together with it, itself included.
    """

    def __init__(self, problem: Problem, slots: int = 1) -> None:
        self.began = time.perf_counter()
        self.problem, self.slots = problem, slots
        self.iteration = 0
        self.log: list[Record] = []
        self.decision = Decision(0, None)
        self.best = torch.empty(0)

    @property
    def due(self) -> bool:
        """Whether a record is to be made now."""
        settings = self.problem.fit
        return self.iteration % settings.log_period == 0 or self.iteration == settings.iterations

    @property
    def ended(self) -> bool:
        """Whether the stopping rule has said so."""
        return self.decision.reason is not None

    def record(self, reading: Reading) -> Record:
        """Note what was read, let the stopping rule decide.

        Raises
        ------
        FloatingPointError
            If the data term is not finite.
        """
        if not math.isfinite(reading.data_term):
            raise FloatingPointError(
                f"fit: data term {reading.data_term} at iteration {self.iteration}, must be finite; "
                f"lower fit.learning_rate from {self.problem.fit.learning_rate:g}"
            )
        self.log.append(
            Record(
                iteration=self.iteration,
                data_term=reading.data_term,
                heldout_loss=reading.heldout_loss,
                chi2=reading.chi2,
                variance=reading.variance,
                seconds=time.perf_counter() - self.began,
            )
        )
        self.decision = decide(self.log, self.problem.stopping, self.problem.fit.iterations)
        if self.decision.best == len(self.log) - 1:
            self.best = reading.mean
        return self.log[-1]

    def result(self, number: int = 0) -> Member:
        """What the fit gave, as the log stands."""
        return Member(
            number=number,
            mean=self.best,
            log=tuple(self.log),
            best=self.log[self.decision.best],
            stop_reason=self.decision.reason or "iteration cap",
            slots=self.slots,
            seconds=time.perf_counter() - self.began,
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
    slots: int
    """Fits that might advance together with it, itself included."""
    seconds: float
    """Since it began; the time of a stack is that of each of its fits."""


def of_member(measurement: Measurement, number: int) -> Measurement:
    """The measurement with the dice of one member; those of the first are its own."""
    return replace(measurement, seed=(measurement.seed + number * SEED_STEP) % 2**63)


def restorations(
    windows: Sequence[Window], ensembles: Sequence[Sequence[Member]]
) -> list[Restoration]:
    """Average what the members of the ensemble of each window gave; one alone is its own average.

    The windows are of one shape and one problem.
    """
    ensembles = [sorted(members, key=lambda member: member.number) for members in ensembles]
    # each (members, 1, C, H, W)
    means = [torch.stack([member.mean for member in members]) for members in ensembles]
    alike = filtered(windows, [of_one.mean(0) for of_one in means])
    parts = zip(windows, ensembles, means, alike, strict=True)
    return [_restoration(*of_one) for of_one in parts]


def _restoration(
    window: Window, members: Sequence[Member], means: torch.Tensor, alike: Filtered | None
) -> Restoration:
    """What there is to say of one window."""
    first, mean = members[0], means.mean(0)
    answer = window.answer(mean, alike)
    uncertain = window.problem.fit.uncertainty
    return Restoration(
        values=answer.values,
        uncertainty=window.uncertainty(means, alike) if uncertain else None,
        log=tuple(record for member in members for record in member.log),
        iterations=sum(member.log[-1].iteration for member in members),
        best_iteration=first.best.iteration,
        stop_reason=first.stop_reason,
        heldout_loss=sum(member.best.heldout_loss for member in members) / len(members),
        chi2=float(window.judge.chi2(mean)),
        guarded=answer.guarded,
        whiteness=window.whiteness(mean),
        slots=min(member.slots for member in members),
        seconds=sum(member.seconds for member in members),
    )


def nothing_to_fit(measurement: Measurement, problem: Problem) -> Restoration:
    """A window without a valid pixel: the transform's offset everywhere."""
    c, h, w = measurement.values.shape
    scale, nan = problem.operator.scale, math.nan
    values = np.full((c, h * scale, w * scale), problem.transform.offset, np.float32)
    unknown = np.full_like(values, nan) if problem.fit.uncertainty else None
    return Restoration(values, unknown, (), 0, 0, "no valid pixels", nan, nan, 0, nan, 0, 0.0)


def begin(window: Window, inputs: int, dice: torch.Generator) -> torch.nn.Module:
    """A prior network with random weights for an input of so many channels, on the device."""
    numerics = window.problem.numerics
    network = make_network(window.problem.network, inputs, window.channels, dice)
    # Torch's stub of Module.to leaves memory_format out.
    network.to(numerics.device, memory_format=numerics.layout)  # type: ignore[call-overload]
    return network


def load(network: torch.nn.Module, start: Weights) -> None:
    """Give a network the weights of another of its kind."""
    network.load_state_dict({name: torch.from_numpy(weight) for name, weight in start.items()})
