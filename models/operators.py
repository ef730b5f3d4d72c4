"""Forward operators A: how a measurement comes from what is sought, each with its exact adjoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

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

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``A x``."""

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """``A^T y``, so that ``<A x, y> = <x, A^T y>``."""


@dataclass(frozen=True)
class Identity:
    """The measurement is the estimate plus noise: denoising."""

    scale: int = 1
    support: int = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` itself."""
        return x

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """``y`` itself."""
        return y


@dataclass(frozen=True)
class Downsample:
    """Low-pass with a Lanczos window and keep every `scale`-th pixel: super-resolution.

    Output pixel i covers the input pixels ``s i ... s i + s - 1``; the kernel is centred on the middle
    of that area, ``s (i + 1/2) - 1/2``, so nothing moves on the sky. Beyond the border the nearest pixel
    is repeated. The kernel sums to 1: a constant stays what it is.
    """

    scale: int
    kernel: Literal["lanczos2", "lanczos3"] = "lanczos3"

    def __post_init__(self) -> None:
        if self.scale < 2 or self.scale % 2:
            raise ValueError(f"downsampling by {self.scale}: must be even and at least 2")
        if self.kernel not in ("lanczos2", "lanczos3"):
            raise ValueError(f"downsampling kernel {self.kernel!r}: must be lanczos2 or lanczos3")

    @property
    def lobes(self) -> int:
        """Half-width of the kernel in pixels of the measurement."""
        return int(self.kernel[-1])

    @property
    def support(self) -> int:
        """Margin in pixels of the estimate: the kernel's half-width less half a covered area."""
        return self.lobes * self.scale - self.scale // 2

    def taps(self) -> torch.Tensor:
        """The kernel along one axis, ``(2 lobes scale,)`` float64, summing to 1."""
        half = self.lobes * self.scale
        t = (torch.arange(-half, half, dtype=torch.float64) + 0.5) / self.scale
        kernel = torch.sinc(t) * torch.sinc(t / self.lobes)
        return kernel / kernel.sum()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``A x``: (B, C, s h, s w) to (B, C, h, w)."""
        b, c, height, width = x.shape
        m, s, k = self.support, self.scale, self.taps().to(x)
        x = F.pad(x.reshape(b * c, 1, height, width), (m, m, m, m), mode="replicate")
        x = F.conv2d(x, k.view(1, 1, -1, 1), stride=(s, 1))  # (B C, 1, h, W + 2 m)
        x = F.conv2d(x, k.view(1, 1, 1, -1), stride=(1, s))  # (B C, 1, h, w)
        return x.reshape(b, c, height // s, width // s)

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """``A^T y``: (B, C, h, w) to (B, C, s h, s w)."""
        b, c, h, w = y.shape
        m, s, k = self.support, self.scale, self.taps().to(y)
        x = F.conv_transpose2d(y.reshape(b * c, 1, h, w), k.view(1, 1, 1, -1), stride=(1, s))
        x = F.conv_transpose2d(
            x, k.view(1, 1, -1, 1), stride=(s, 1)
        )  # (B C, 1, s h + 2 m, s w + 2 m)
        x = _fold(_fold(x, m).mT, m).mT
        return x.reshape(b, c, s * h, s * w)


def _fold(x: torch.Tensor, margin: int) -> torch.Tensor:
    """Adjoint of repeating the first and last rows: give the margins back to the rows they copied."""
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
