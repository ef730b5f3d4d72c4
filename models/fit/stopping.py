"""Stopping rules: decide the last iteration from the log alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

# Mean squared residual, over the noise variance, of the true image: Morozov's discrepancy principle.
EXPECTED_CHI2 = 1.0


@dataclass(frozen=True)
class StoppingSettings:
    """When a fit stops before its cap on iterations."""

    __pydantic_config__ = {"extra": "forbid"}

    rule: Literal["heldout", "exposure", "chi2", "variance", "fixed"] = "heldout"
    """heldout: at the minimum of the loss on pixels kept from the fit; exposure: of that on the last
    `--exposure`, which is kept from the fit; chi2: as soon as the residual is what the noise model says;
    variance: where the estimates wander least (ES-EMV, for comparison); fixed: at the cap."""
    heldout: float = 0.02
    """Share of valid pixels kept from the fit."""
    patience: int = 200
    """Iterations without a better held-out loss, or a smaller variance, after which the fit ends."""
    minimum: int = 100
    """Iterations before which no fit ends."""


class LogRecord(Protocol):
    """What a stopping rule reads of a record of the iteration log."""

    @property
    def iteration(self) -> int:
        """Optimiser steps so far."""

    @property
    def heldout_loss(self) -> float:
        """Loss of the average on pixels, or an exposure, kept from the fit; NaN where none are."""

    @property
    def chi2(self) -> float:
        """Mean squared residual of the average over the noise variance; NaN where there is no noise."""

    @property
    def variance(self) -> float:
        """Moving variance of the estimates; NaN where the rule does not look at it."""


@dataclass(frozen=True)
class Decision:
    """Which record is the best so far, and whether to go on."""

    best: int
    """Position in the log of the record whose average is the answer."""
    reason: str | None
    """Why the fit ends here; None to go on."""


def decide(log: Sequence[LogRecord], settings: StoppingSettings, cap: int) -> Decision:
    """Judge a log after each of its records.

    Parameters
    ----------
    log
        All records so far, at least one, in order.
    settings
        The rule.
    cap
        Iterations after which every fit ends.

    Returns
    -------
    With the rules `heldout`, `exposure` and `variance`, best is the record where that number is least; with
    `chi2` the first that is small enough; where there is no such number, and with the rule `fixed`, the
    last one.
    """
    last = log[-1]
    best, reason = _judged(log, settings)
    if reason is not None and last.iteration >= settings.minimum:
        return Decision(best, reason)
    return Decision(best, "iteration cap" if last.iteration >= cap else None)


def _judged(log: Sequence[LogRecord], settings: StoppingSettings) -> tuple[int, str | None]:
    """Position of the best record by the rule, and why it would end the fit there."""
    match settings.rule:
        case "heldout" | "exposure":
            best, waited = _least(log, [record.heldout_loss for record in log])
            return best, "held-out minimum" if waited >= settings.patience else None
        case "variance":
            best, waited = _least(log, [record.variance for record in log])
            return best, "variance minimum" if waited >= settings.patience else None
        case "chi2":
            reached = log[-1].chi2 <= EXPECTED_CHI2
            return len(log) - 1, "chi2 reached" if reached else None
        case "fixed":
            return len(log) - 1, None


def _least(log: Sequence[LogRecord], curve: Sequence[float]) -> tuple[int, int]:
    """Position of the least value that is finite, and iterations since; the last one where none is."""
    judged = [n for n, value in enumerate(curve) if math.isfinite(value)]
    if not judged:
        return len(log) - 1, 0
    best = min(judged, key=lambda n: curve[n])
    return best, log[-1].iteration - log[best].iteration
