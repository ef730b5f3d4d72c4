"""Stopping rules: decide the last iteration from the log alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class StoppingSettings:
    """When a fit stops before its cap on iterations."""

    __pydantic_config__ = {"extra": "forbid"}

    rule: Literal["heldout", "fixed"] = "heldout"
    """heldout: at the minimum of the loss on pixels kept from the fit; fixed: at the cap."""
    heldout: float = 0.02
    """Share of valid pixels kept from the fit."""
    patience: int = 200
    """Iterations without a better held-out loss after which the fit ends."""
    minimum: int = 100
    """Iterations before which no fit ends."""
