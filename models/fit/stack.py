"""Fits of windows of one shape that advance together, each in its slot, a new one for each that ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from glassplate.models.batching.networks_together import Begun, Networks, networks_together
from glassplate.models.batching.slots import Dice, Slotted
from glassplate.models.fit.average import Average, Wandering
from glassplate.models.fit.inputs import Draw, Input
from glassplate.models.fit.objective import Objective
from glassplate.models.fit.score import Judge

# Axes of (B, C, H, W) along which an input may be turned round.
FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))


class Reading(NamedTuple):
    """What a record is made from; the fields that `Record` has, too, mean the same."""

    mean: torch.Tensor
    """(1, C, H, W), source units: the average so far."""
    data_term: float
    heldout_loss: float
    chi2: float
    variance: float


class State(Slotted):
    """What an iteration reads and changes of its windows, but for the networks.

    Parameters
    ----------
    judge
        Who judges the averages; it knows what is minimised.
    source
        The input.
    settled
        Whether the weights at the start are good ones already.
    dice
        On the CPU, of what is decided before an iteration begins.
    """

    def __init__(self, judge: Judge, source: Input, settled: bool, dice: Dice) -> None:
        self.judge, self.source, self.dice = judge, source, dice
        objective, problem = judge.objective, judge.objective.problem
        _, c, h, w = objective.y.shape
        scale, device = problem.operator.scale, problem.numerics.device
        shape = (1, c, h * scale, w * scale)
        self.average = Average(shape, device, problem.fit.average, settled=settled)
        watched = problem.stopping.rule == "variance"
        self.wandering = Wandering(objective.y.shape, device) if watched else None
        self.total, self.since = torch.zeros((2, 1), device=device).unbind()

    def advance(self, networks: Networks) -> None:
        """One iteration; nothing is read back, so the device is not waited for."""
        draw, objective = self.source.draw(), self.judge.objective
        problem = objective.problem
        flips = [FLIPS[n] for n in self.dice.below(len(FLIPS))] if problem.fit.flips else []
        x, losses = descend(networks, objective, draw, flips)
        self.average.add(x, draw.answered)
        if self.wandering is not None:
            self.wandering.add(problem.operator.forward(x), objective.judging)
        self.total += losses
        self.since += 1

    def read(self, slots: Sequence[int]) -> list[Reading]:
        """What these slots have come to since they were last read; the device is waited for."""
        means = self.average.value()
        unwatched = torch.full_like(self.total, torch.nan)
        numbers = (
            self.total / self.since,
            self.judge.heldout_loss(means),
            self.judge.chi2(means),
            unwatched if self.wandering is None else self.wandering.value(),
        )
        # all at once, since the device is waited for
        told = torch.stack(numbers, 1).tolist()  # (B, 4)
        for slot in slots:
            self.total[slot] = self.since[slot] = 0
        # a copy of each, so that one that is kept does not keep all
        return [Reading(means[slot : slot + 1].clone(), *told[slot]) for slot in slots]


class Stack:
    """States and networks side by side."""

    def __init__(self, begun: Sequence[tuple[State, Begun]]) -> None:
        states, networks = [state for state, _ in begun], [network for _, network in begun]
        numerics = states[0].judge.objective.problem.numerics
        self.state = State.joined(states)
        self.networks = networks_together(networks, numerics)

    def advance(self) -> None:
        """One iteration of every fit."""
        self.state.advance(self.networks)

    def put(self, slot: int, begun: tuple[State, Begun]) -> None:
        """Let another fit begin in a slot."""
        state, network = begun
        if len(self.state.total) == 1:
            self.state = state
        else:
            self.state.put(slot, state)
        self.networks.put(slot, network)

    def keep(self, slots: Sequence[int]) -> None:
        """Go on with these slots alone, in this order."""
        self.state, self.networks = self.state.kept(slots), self.networks.kept(slots)


def descend(
    networks: Networks,
    objective: Objective,
    draw: Draw,
    flips: Sequence[tuple[int, ...]] = (),
) -> tuple[torch.Tensor, torch.Tensor]:
    """One optimiser step on the data term and the penalty.

    Parameters
    ----------
    networks, objective, draw
        Of B windows.
    flips
        Axes along which each window's network sees its input turned round; none for all as they are.

    Returns
    -------
    x, losses
        The estimates before the step, (B, C, H, W) in source units, and their data terms, (B,).
    """
    numerics = objective.problem.numerics
    z = turned(draw.z.to(numerics.dtype), flips).contiguous(memory_format=numerics.layout)
    x = objective.estimate(turned(networks.paint(z), flips))
    losses = objective.data_term(x, draw.asked)
    networks.improve((losses + objective.penalty(x)).sum())
    return x.detach(), losses.detach()


def turned(maps: torch.Tensor, flips: Sequence[tuple[int, ...]]) -> torch.Tensor:
    """Each of (B, C, H, W) turned round along its axes; twice is not at all."""
    if not any(flips):
        return maps
    each = torch.split(maps, 1)  # (1, C, H, W)
    return torch.cat([one.flip(axes) for one, axes in zip(each, flips, strict=True)])
