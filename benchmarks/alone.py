"""One fit that goes step by step, to be looked at on its way."""

from __future__ import annotations

import time

import torch

from glassplate.models.estimate.estimate import Answer, answer, similar_blocks
from glassplate.models.fit.log import FitLog, Record
from glassplate.models.fit.loop import advance, begin
from glassplate.models.fit.problem import Measurement, Problem, Weights
from glassplate.models.fit.window import Window


class Alone(FitLog):
    """The log of a fit that goes step by step, with its state and its network.

    The caller enters `Numerics.applied`. Another network than usual is to be set before the first step.
    """

    def __init__(
        self, measurement: Measurement, problem: Problem, weights: Weights | None = None
    ) -> None:
        super().__init__(problem, time.perf_counter())
        self.window = Window(measurement, problem)
        self.state, self.network = begin(self.window, weights)

    def step(self) -> None:
        """Do one iteration."""
        advance(self.state, self.network, [True])
        self.iteration += 1

    def mean(self) -> torch.Tensor:
        """The average so far, (1, C, H, W), source units."""
        return self.state.average.value()

    def answer(self) -> Answer:
        """What the restoration would be."""
        mean = self.mean()
        [filtered] = similar_blocks([self.window], [mean])
        return answer(self.window, mean, filtered)

    def look(self) -> Record:
        """Make the record that is due."""
        [reading] = self.state.read([0])
        return self.add(reading)
