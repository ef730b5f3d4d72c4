"""What a forward operator A is: a linear map from the estimate to the measurement, with its exact adjoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch


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
        """Whether a pixel of the measurement depends on more than one pixel of the estimate.

        Where it does not, each pixel of the estimate has a measurement of its own, which may be hidden from
        the network (blind spot) and be combined with its answer (posterior step).
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
    """Works on the output of `first`."""

    @property
    def scale(self) -> int:
        """Product of both scales."""
        return self.first.scale * self.second.scale

    @property
    def support(self) -> int:
        """Sum of both margins, in pixels of the estimate."""
        return self.first.support + self.second.support * self.first.scale

    @property
    def mixes(self) -> bool:
        """Whether one of the two operators mixes pixels."""
        return self.first.mixes or self.second.mixes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``A2 A1 x``: (B, C, H, W) to (B, C, H / scale, W / scale)."""
        return self.second.forward(self.first.forward(x))

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """``A1^T A2^T y``: (B, C, H / scale, W / scale) to (B, C, H, W)."""
        return self.first.adjoint(self.second.adjoint(y))
