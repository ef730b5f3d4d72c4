"""Forward operators A: how a measurement comes from what is sought, each with its exact adjoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F


class Operator(Protocol):
    """A linear map from an estimate ``(B, C, H, W)`` to a measurement ``(B, C, H/scale, W/scale)``."""

    @property
    def scale(self) -> int:
        """Pixels of the estimate per pixel of the measurement, along each axis."""

    @property
    def support(self) -> int:
        """Margin, in pixels of the estimate, that a pixel of the measurement needs around its area."""

    @property
    def mixes(self) -> bool:
        """Whether a pixel of the measurement is made of more than the one pixel of the estimate.

        Where it is not, a pixel of the estimate has a measurement of its own, which may be kept from
        the network (blind spot) and given back to it (posterior step).
        """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``A x``."""

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """``A^T y``, so that ``<A x, y> = <x, A^T y>``."""


@dataclass(frozen=True)
class Identity:
    """The measurement is the estimate plus noise: denoising."""

    scale: int = 1
    support: int = 0
    mixes: bool = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` itself."""
        return x

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """``y`` itself."""
        return y


@dataclass(frozen=True)
class Composition:
    """One operator after another, such as the blur of the optics and then the pixels of the detector."""

    first: Operator
    """Works on the estimate."""
    second: Operator
    """Works on what the first one gives."""

    @property
    def scale(self) -> int:
        """The product of both scales."""
        return self.first.scale * self.second.scale

    @property
    def support(self) -> int:
        """Both margins, that of the second operator in pixels of the estimate."""
        return self.first.support + self.second.support * self.first.scale

    @property
    def mixes(self) -> bool:
        """Whether one of them does."""
        return self.first.mixes or self.second.mixes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``A2 A1 x``: (B, C, H, W) to (B, C, H / scale, W / scale)."""
        return self.second.forward(self.first.forward(x))

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """``A1^T A2^T y``: (B, C, H / scale, W / scale) to (B, C, H, W)."""
        return self.first.adjoint(self.second.adjoint(y))


def extend(x: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Repeat the border's pixels: (B, C, H, W) to (B, C, H + 2 down, W + 2 right)."""
    return F.pad(x, (right, right, down, down), mode="replicate")


def fold(x: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Adjoint of `extend`: give the margins back to the pixels that they copied."""
    return _fold_rows(_fold_rows(x, down).mT, right).mT


def _fold_rows(x: torch.Tensor, margin: int) -> torch.Tensor:
    if margin == 0:
        return x
    core = x[..., margin:-margin, :].clone()
    core[..., 0, :] += x[..., :margin, :].sum(-2)
    core[..., -1, :] += x[..., -margin:, :].sum(-2)
    return core


def upsample(y: torch.Tensor, scale: int) -> torch.Tensor:
    """Bicubic interpolation (B, C, h, w) to (B, C, s h, s w) with the phase of `Downsample`."""
    return F.interpolate(y, scale_factor=scale, mode="bicubic", align_corners=False)


def valid_adjoint(
    operator: Operator, shape: Sequence[int], *, seed: int = 0, tolerance: float = 1e-10
) -> bool:
    """Dot test: ``<A x, y> = <x, A^T y>`` for random float64 x and y, to a relative `tolerance`.

    Parameters
    ----------
    operator
        The operator to test.
    shape
        Shape ``(B, C, H, W)`` of x; H and W must be multiples of the operator's scale.
    seed
        Of the random x and y.
    tolerance
        Relative to ``|A x| |y|``.
    """
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.standard_normal(tuple(shape)))
    forward = operator.forward(x)
    y = torch.from_numpy(rng.standard_normal(tuple(forward.shape)))
    gap = (forward * y).sum() - (x * operator.adjoint(y)).sum()
    return bool(gap.abs() <= tolerance * forward.norm() * y.norm())
