"""One fit in a stack of its own, to be looked at on its way."""

from __future__ import annotations

import torch

from glassplate.models.fit.member import Fit, Start
from glassplate.models.fit.problem import Measurement, Problem, Record, Weights
from glassplate.models.fit.stack import Stack
from glassplate.models.fit.window import Answer, filtered


class Alone(Fit):
    """A fit that goes step by step; `Numerics.applied` is the caller's to enter.

    What is to be another than usual, such as the network, is to be changed before the first step.
    """

    def __init__(
        self, measurement: Measurement, problem: Problem, weights: Weights | None = None
    ) -> None:
        super().__init__(problem)
        self.start = Start(measurement, problem, weights)
        self._stack: Stack | None = None

    @property
    def stack(self) -> Stack:
        """Its stack, made at the first look."""
        if self._stack is None:
            self._stack = Stack([self.start.begun()])
        return self._stack

    def step(self) -> None:
        """One iteration."""
        self.stack.advance()
        self.iteration += 1

    def mean(self) -> torch.Tensor:
        """The average so far, (1, C, H, W), source units."""
        return self.stack.state.average.value()

    def answer(self) -> Answer:
        """What would be the restoration."""
        window, mean = self.start.window, self.mean()
        [alike] = filtered([window], [mean])
        return window.answer(mean, alike)

    def look(self) -> Record:
        """The record that is due."""
        [reading] = self.stack.state.read([0])
        return self.record(reading)
