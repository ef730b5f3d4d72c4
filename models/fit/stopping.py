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

    rule: Literal["heldout", "exposure", "chi2", "fixed"] = "heldout"
    """heldout: at the minimum of the loss on pixels kept from the fit; exposure: of that on the last
    `--exposure`, which is kept from the fit; chi2: as soon as the residual is what the noise model says;
    fixed: at the cap."""
    heldout: float = 0.02
    """Share of valid pixels kept from the fit."""
    patience: int = 200
    """Iterations without a better held-out loss after which the fit ends."""
    minimum: int = 100
    """Iterations before which no fit ends, and of fewer than which no answer is the average."""


class LogRecord(Protocol):
    """The fields of a log record that a stopping rule reads."""

    @property
    def iteration(self) -> int:
        """Optimiser steps so far."""

    @property
    def heldout_loss(self) -> float:
        """Loss of the average on pixels, or an exposure, kept from the fit; NaN where none are."""

    @property
    def chi2(self) -> float:
        """Mean squared residual of the average over the noise variance; NaN where there is no noise."""


@dataclass(frozen=True)
class Decision:
    """Which record is the best so far, and whether to go on."""

    best: int
    """Position in the log of the record whose average is the answer."""
    reason: str | None
    """Why the fit ends here; None to go on."""


def decide(log: Sequence[LogRecord], settings: StoppingSettings, cap: int) -> Decision:
    """Decide whether a fit ends, after each record of its log.

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
    With the rules `heldout` and `exposure` the best record is that of the least held-out loss among those of
    `minimum` iterations and more; with `chi2` it is the first that is small enough. Where there is none yet,
    and with the rule `fixed`, it is the last.
    """
    last = log[-1]
    best, reason = _by_rule(log, settings)
    if reason is not None and last.iteration >= settings.minimum:
        return Decision(best, reason)
    return Decision(best, "iteration cap" if last.iteration >= cap else None)


def _by_rule(log: Sequence[LogRecord], settings: StoppingSettings) -> tuple[int, str | None]:
    """Position of the best record by the rule, and why it would end the fit there."""
    match settings.rule:
        case "heldout" | "exposure":
            # held-out pixels enter the average at each iteration, others only when they are dropped: the
            # loss says nothing of an average in which some pixels are not yet
            best, waited = least([_from(settings.minimum, record) for record in log], log)
            return best, "held-out minimum" if waited >= settings.patience else None
        case "chi2":
            reached = log[-1].chi2 <= EXPECTED_CHI2
            return len(log) - 1, "chi2 reached" if reached else None
        case "fixed":
            return len(log) - 1, None


def _from(minimum: int, record: LogRecord) -> float:
    return record.heldout_loss if record.iteration >= minimum else math.nan


def least(curve: Sequence[float], log: Sequence[LogRecord]) -> tuple[int, int]:
    """Position of the least finite value of a curve over the log, the last if none is; iterations since."""
    finite = [n for n, value in enumerate(curve) if math.isfinite(value)]
    if not finite:
        return len(log) - 1, 0
    best = min(finite, key=lambda n: curve[n])
    return best, log[-1].iteration - log[best].iteration
