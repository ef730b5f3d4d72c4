"""The iteration log of one fit, and what the fit gives at its end."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import NamedTuple

import torch

from glassplate.models.fit.problem import Problem
from glassplate.models.fit.stopping import Decision, decide


@dataclass(frozen=True)
class Record:
    """One line of the iteration log; the fields are declared here and nowhere else."""

    iteration: int
    """Optimiser steps so far."""
    data_term: float
    """Mean data term of the iterations since the last record, squared units of the transform."""
    heldout_loss: float
    """Weighted squares of the average on held-out pixels, or against the exposure that is kept from the
    fit, same units; NaN where nothing is held out."""
    chi2: float
    """Mean squared residual of the average over the noise variance; NaN where there is no noise."""
    seconds: float
    """Since the fit of this tile began."""


class Reading(NamedTuple):
    """What a record is made from. Fields that `Record` has too mean the same."""

    mean: torch.Tensor
    """(1, C, H, W), source units: the average so far."""
    data_term: float
    heldout_loss: float
    chi2: float


@dataclass(frozen=True)
class FitResult:
    """What one fit gave: alone, or as one member of an ensemble over the same window."""

    mean: torch.Tensor
    """(1, C, H, W), source units: the average at the record that the stopping rule chose."""
    log: tuple[Record, ...]
    best: Record
    """The record that the stopping rule chose."""
    stop_reason: str
    slots: int
    """Fits that might advance together with this one, itself included."""
    seconds: float
    """Since the fit began; the time of a stack is counted for each of its fits."""


class FitLog:
    """The log of a fit in progress, and the stopping rule's decision.

    Parameters
    ----------
    problem
        How the window is fitted.
    began
        ``time.perf_counter()`` when the fit began.
    slots
        Fits that may advance together with this one, itself included.
    """

    def __init__(self, problem: Problem, began: float, slots: int = 1) -> None:
        self.problem, self.began, self.slots = problem, began, slots
        self.iteration = 0
        self.records: list[Record] = []
        self.decision = Decision(0, None)
        self.best_mean = torch.empty(0)

    @property
    def record_due(self) -> bool:
        """Whether a record is to be made after this iteration."""
        fit = self.problem.fit
        return self.iteration % fit.log_period == 0 or self.iteration == fit.iterations

    @property
    def ended(self) -> bool:
        """Whether the stopping rule has ended the fit."""
        return self.decision.reason is not None

    def add(self, reading: Reading) -> Record:
        """Make a record and let the stopping rule decide.

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
        record = Record(
            iteration=self.iteration,
            data_term=reading.data_term,
            heldout_loss=reading.heldout_loss,
            chi2=reading.chi2,
            seconds=time.perf_counter() - self.began,
        )
        self.records.append(record)
        problem = self.problem
        self.decision = decide(
            self.records, problem.stopping, problem.fit.iterations, problem.noise.correlated
        )
        if self.decision.best == len(self.records) - 1:
            self.best_mean = reading.mean
        return record

    def result(self) -> FitResult:
        """What the fit has given so far."""
        return FitResult(
            mean=self.best_mean,
            log=tuple(self.records),
            best=self.records[self.decision.best],
            stop_reason=self.decision.reason or "iteration cap",
            slots=self.slots,
            seconds=time.perf_counter() - self.began,
        )
