"""Downsampling by whole numbers: a low-pass filter, then every n-th pixel, with the phase of a detector."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F

from glassplate.models.operators.borders import repeat_border, repeat_border_adjoint
from glassplate.models.operators.kernels import KERNELS, Kernel

CPU = torch.device("cpu")

# Half-widths in pixels of the measurement; box and pick use one pixel's own area alone.
LOBES = {"lanczos2": 2, "lanczos3": 3, "bicubic": 2}
# Keys' parameter (IEEE Trans. ASSP 29, 1981, third-order choice), also that of MATLAB's imresize and PIL.
CUBIC = -0.5


@dataclass(frozen=True)
class Downsample:
    """Low-pass and keep every `scale`-th pixel: super-resolution.

    Output pixel i covers the input pixels ``s i ... s i + s - 1``; the kernel is centred on the middle
    of that area, ``s i + (s - 1) / 2``, so that nothing moves on the sky. Beyond the border the nearest
    pixel is repeated. The kernel sums to 1, so that a constant image stays constant.

    The kernels: lanczos2, lanczos3 and bicubic (a = -0.5) are stretched by the scale, as MATLAB's
    imresize and PIL do; box is the mean of the covered pixels, as in the pixels of a detector; pick takes
    the middle of the area (with an even scale the mean of the two middle pixels along each axis), for a PSF
    that includes the detector's pixel already.
    """

    scale: int
    kernel: Kernel = "lanczos3"

    def __post_init__(self) -> None:
        if self.scale < 2:
            raise ValueError(f"downsampling by {self.scale}: must be at least 2")
        if self.kernel not in KERNELS:
            raise ValueError(
                f"downsampling kernel {self.kernel!r}: must be one of {', '.join(KERNELS)}"
            )

    @property
    def mixes(self) -> bool:
        """True: the estimate has more pixels than the measurement."""
        return True

    @property
    def support(self) -> int:
        """Margin in pixels of the estimate: half the kernel less half the covered area."""
        return (len(taps(self.scale, self.kernel)) - self.scale) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``A x``: (B, C, s h, s w) to (B, C, h, w)."""
        b, c, height, width = x.shape
        m, s, k = self.support, self.scale, taps(self.scale, self.kernel, x.dtype, x.device)
        x = repeat_border(x.reshape(b * c, 1, height, width), m, m)
        x = F.conv2d(x, k.view(1, 1, -1, 1), stride=(s, 1))  # (B C, 1, h, W + 2 m)
        x = F.conv2d(x, k.view(1, 1, 1, -1), stride=(1, s))  # (B C, 1, h, w)
        return x.reshape(b, c, height // s, width // s)

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """``A^T y``: (B, C, h, w) to (B, C, s h, s w)."""
        b, c, h, w = y.shape
        m, s, k = self.support, self.scale, taps(self.scale, self.kernel, y.dtype, y.device)
        x = F.conv_transpose2d(y.reshape(b * c, 1, h, w), k.view(1, 1, 1, -1), stride=(1, s))
        # (B C, 1, s h + 2 m, s w + 2 m)
        x = F.conv_transpose2d(x, k.view(1, 1, -1, 1), stride=(s, 1))
        return repeat_border_adjoint(x, m, m).reshape(b, c, s * h, s * w)


# Cached on the device: sending the taps to it at each iteration would make the program wait for it.
@lru_cache(maxsize=32)
def taps(
    scale: int,
    kernel: Kernel,
    dtype: torch.dtype = torch.float64,
    device: torch.device = CPU,
) -> torch.Tensor:
    """Kernel along one axis, symmetric about the middle of the covered area; ``(n,)``, summing to 1.

    Taps lie at whole distances from the middle where the scale is odd, at half ones where it is even.
    """
    lobes = LOBES.get(kernel)
    # the outermost taps of an odd kernel would be 0
    count = scale if lobes is None else 2 * lobes * scale - scale % 2
    t = torch.arange(count, dtype=torch.float64) - (count - 1) / 2  # pixels of the estimate
    weights = _profile(kernel, t, scale)
    return (weights / weights.sum()).to(device, dtype)


def _profile(kernel: Kernel, t: torch.Tensor, scale: int) -> torch.Tensor:
    """Value of the kernel at distances `t` from its middle, up to a factor."""
    u = t / scale  # pixels of the measurement
    match kernel:
        case "box":
            return torch.ones_like(t)
        case "pick":
            return (t.abs() < 1).to(t.dtype)
        case "bicubic":
            near = (CUBIC + 2) * u.abs() ** 3 - (CUBIC + 3) * u.square() + 1
            far = CUBIC * (u.abs() ** 3 - 5 * u.square() + 8 * u.abs() - 4)
            return torch.where(u.abs() <= 1, near, far)
        case _:
            return torch.sinc(u) * torch.sinc(u / LOBES[kernel])


def upsample_bicubic(y: torch.Tensor, scale: int) -> torch.Tensor:
    """Interpolate (B, C, h, w) to (B, C, s h, s w) with the phase of `Downsample`."""
    return F.interpolate(y, scale_factor=scale, mode="bicubic", align_corners=False)
