"""Stopping rules: decide the last iteration from the log alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

# Mean squared residual, over the noise variance, of the true image: Morozov's discrepancy principle.
EXPECTED_CHI2 = 1.0
# Share by which a held-out loss must fall where the noise of neighbours is correlated. Held-out pixels are
# then partly known from pixels that are seen, so that their loss goes on falling, slowly, while a fit
# learns noise. (PolyU, 128x128, PSNR of the predictions of nine crops: 42.5 dB with 0, 42.8 with 0.005 to
# 0.02, 42.6 with 0.05, at most 43.1 by the best record of each.)
CORRELATED_GAIN = 0.015


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
    """Iterations before which no fit ends."""


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


def decide(
    log: Sequence[LogRecord], settings: StoppingSettings, cap: int, correlated: bool = False
) -> Decision:
    """Decide whether a fit ends, after each record of its log.

    Parameters
    ----------
    log
        All records so far, at least one, in order.
    settings
        The rule.
    cap
        Iterations after which every fit ends.
    correlated
        Whether the noise of neighbouring pixels is correlated; then a held-out loss must be lower by
        `CORRELATED_GAIN` to count as better, and those before `minimum` do not count.

    Returns
    -------
    With the rules `heldout` and `exposure` the best record is that of the least held-out loss; with `chi2` it
    is the first that is small enough. Where there is none yet, and with the rule `fixed`, it is the last.
    """
    last = log[-1]
    best, reason = _by_rule(log, settings, correlated=correlated)
    if reason is not None and last.iteration >= settings.minimum:
        return Decision(best, reason)
    return Decision(best, "iteration cap" if last.iteration >= cap else None)


def _by_rule(
    log: Sequence[LogRecord], settings: StoppingSettings, *, correlated: bool
) -> tuple[int, str | None]:
    """Position of the best record by the rule, and why it would end the fit there."""
    match settings.rule:
        case "heldout" | "exposure":
            curve = [record.heldout_loss for record in log]
            gain = 0.0
            if correlated and settings.rule == "heldout":  # another exposure is independent
                # held-out pixels enter the average at each iteration, others only when they are dropped,
                # seldom here: the loss says nothing of an average in which some pixels are not yet
                early = [record.iteration < settings.minimum for record in log]
                curve = [math.nan if e else loss for e, loss in zip(early, curve, strict=True)]
                gain = CORRELATED_GAIN
            best, waited = least(curve, log, gain)
            return best, "held-out minimum" if waited >= settings.patience else None
        case "chi2":
            reached = log[-1].chi2 <= EXPECTED_CHI2
            return len(log) - 1, "chi2 reached" if reached else None
        case "fixed":
            return len(log) - 1, None


def least(curve: Sequence[float], log: Sequence[LogRecord], gain: float = 0.0) -> tuple[int, int]:
    """Position of the least finite value of a curve over the log, the last if none is; iterations since.

    A value counts as less only if it is lower than the least before it by the share `gain`.
    """
    best = None
    for n, value in enumerate(curve):
        if math.isfinite(value) and (best is None or value < (1 - gain) * curve[best]):
            best = n
    if best is None:
        return len(log) - 1, 0
    return best, log[-1].iteration - log[best].iteration
