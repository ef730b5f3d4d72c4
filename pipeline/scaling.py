"""Reversible pixel scaling: one for the whole image, global and robust."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ScalingSettings:
    """The domain in which the network paints."""

    __pydantic_config__ = {"extra": "forbid"}

    kind: Literal["auto", "linear", "asinh", "range"] = "auto"
    """linear: robust percentiles to 0..1; asinh: linear near the sky, logarithmic far above it;
    range: the type's range (or the image's extremes) to 0..1; auto: range for 8 and 16 bit TIFF, PNG
    and JPEG, else asinh or linear by the dynamic range."""
    softening: float = 10.0
    """Level above the sky, in noise standard deviations, where asinh turns from linear to logarithmic."""
