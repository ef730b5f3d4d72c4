"""Stopping rules: decide the last iteration from the log alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class StoppingSettings:
    """When a fit stops before its cap on iterations."""

    __pydantic_config__ = {"extra": "forbid"}

    rule: Literal["heldout", "exposure", "fixed"] = "heldout"
    """heldout: at the minimum of the loss on pixels kept from the fit; exposure: of that on the last
    `--exposure`, which is kept from the fit; fixed: at the cap."""
    heldout: float = 0.02
    """Share of valid pixels kept from the fit."""
    patience: int = 200
    """Iterations without a better held-out loss after which the fit ends."""
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
    With rules `heldout` and `exposure`, best is the record of least held-out loss; where nothing was held
    out, or with rule `fixed`, the last one.
    """
    last = log[-1]
    judged = [n for n, record in enumerate(log) if math.isfinite(record.heldout_loss)]
    held = settings.rule in ("heldout", "exposure") and bool(judged)
    best = min(judged, key=lambda n: log[n].heldout_loss) if held else len(log) - 1
    waited = last.iteration - log[best].iteration
    if held and last.iteration >= settings.minimum and waited >= settings.patience:
        return Decision(best, "held-out minimum")
    if last.iteration >= cap:
        return Decision(best, "iteration cap")
    return Decision(best, None)
