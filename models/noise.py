"""Noise models and their estimation from the image alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class NoiseSettings:
    """What is known of the noise; what is not is estimated once for the whole image."""

    __pydantic_config__ = {"extra": "forbid"}

    model: Literal["auto", "gaussian", "poisson-gaussian", "poisson"] = "auto"
    """auto: a variance image where given, else decided by the image."""
    sigma: float | None = None
    """Standard deviation in source units (gaussian)."""
    gain: float | None = None
    """Electrons per source unit (poisson-gaussian); 1 for counts."""
    read_noise: float | None = None
    """Read noise in electrons (poisson-gaussian)."""
    correlation: Literal["auto", "white", "correlated"] = "auto"
    """Whether neighbouring pixels share noise; auto measures it."""
