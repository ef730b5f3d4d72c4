"""The map from source units to what a network outputs: linear, or asinh for a high dynamic range."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    import torch

Array = TypeVar("Array", "np.ndarray[Any, Any]", "torch.Tensor")


@dataclass(frozen=True)
class PixelTransform:
    """A monotone map between source units and the network's domain, one for the whole image.

    ``linear``: ``u = (x - offset) / scale``.
    ``asinh``: ``u = asinh((x - offset) / softening) / scale``; linear for ``|x - offset|`` well below
    ``softening``, logarithmic well above it (Lupton, Gunn & Szalay 1999).

    Every method takes a numpy array or a torch tensor of any shape and returns the same kind.
    """

    kind: Literal["linear", "asinh"] = "linear"
    offset: float = 0.0
    """Value that maps to 0, in source units."""
    scale: float = 1.0
    """Divisor: source units for linear, a pure number for asinh."""
    softening: float = 1.0
    """Distance from `offset` beyond which asinh is logarithmic, in source units (asinh)."""

    def __post_init__(self) -> None:
        for name in ("scale", "softening"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"transform: {name} is {value}, must be finite and above 0")

    def forward(self, x: Array) -> Array:
        """Source units to the network's domain."""
        if self.kind == "linear":
            return (x - self.offset) / self.scale
        return cast(Array, _library(x).arcsinh((x - self.offset) / self.softening) / self.scale)

    def inverse(self, u: Array) -> Array:
        """The network's domain to source units."""
        if self.kind == "linear":
            return u * self.scale + self.offset
        return cast(Array, _library(u).sinh(u * self.scale) * self.softening + self.offset)

    def derivative(self, x: Array) -> Array:
        """``du/dx`` at `x`, in 1 / source units; always above 0."""
        if self.kind == "linear":
            return cast(Array, _library(x).full_like(x, 1 / self.scale))
        t = (x - self.offset) / self.softening
        return cast(Array, 1 / (_library(x).sqrt(t * t + 1) * (self.scale * self.softening)))

    def scaled(self, exponent: int) -> PixelTransform:
        """The transform of the image multiplied by ``2**exponent`` into the same domain."""
        scale, softening = self.scale, self.softening
        if self.kind == "linear":
            scale = math.ldexp(scale, exponent)
        else:
            softening = math.ldexp(softening, exponent)
        return replace(
            self, offset=math.ldexp(self.offset, exponent), scale=scale, softening=softening
        )


def _library(x: np.ndarray[Any, Any] | torch.Tensor) -> Any:
    """Return numpy or torch, whichever `x` belongs to; both have the functions used here."""
    if isinstance(x, (np.ndarray, np.generic)):
        return np
    import torch  # by whoever has a tensor: a recorded transform is read without it

    return torch
