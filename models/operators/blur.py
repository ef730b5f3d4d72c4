"""Convolution with a known point-spread function (PSF): the operator of deconvolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from glassplate.models.operators.borders import repeat_border, repeat_border_adjoint
from glassplate.models.operators.psf import Psf

Method: TypeAlias = Literal["separable", "direct", "fft"]
# A PSF is the product of a column and a row if its second singular value is below this share of the first:
# float32 rounds to 6e-8, and a Gaussian on a pixel grid written as float32 gives 1e-7.
RANK_ONE = 1e-6


@dataclass(frozen=True)
class Blur:
    """Convolution with a PSF on the grid of the estimate: ``y(p) = sum_q psf(q) x(p - q)``.

    Beyond the border the nearest pixel is repeated, so that a constant image stays constant.
    """

    psf: Psf
    method: Literal["auto", Method] = "auto"
    """separable: along columns and then rows, of which the PSF must be a product; direct: one convolution;
    fft: by Fourier transform; auto: the fastest. All give the same result to rounding."""

    @property
    def scale(self) -> int:
        """One: the measurement has the grid of the estimate."""
        return 1

    @property
    def support(self) -> int:
        """Half the longer side of the PSF, in pixels."""
        return max(self.psf.shape) // 2

    @property
    def mixes(self) -> bool:
        """True: a pixel of the measurement depends on as many pixels of the estimate as the PSF has."""
        return True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``A x``: (B, C, H, W) to the same."""
        down, right = (side // 2 for side in self.psf.shape)
        b, c, height, width = x.shape
        x = x.reshape(b * c, 1, height, width)
        x = repeat_border(x, down, right)  # (B C, 1, H + 2 m, W + 2 n)
        match self._method(x.dtype):
            case "separable":
                column, row = _separable_kernels(self.psf, x.dtype, x.device)
                x = F.conv2d(F.conv2d(x, column), row)
            case "direct":
                x = F.conv2d(x, _kernel(self.psf, x.dtype, x.device))
            case "fft":
                size = _fast_size(x.shape)
                transfer = _psf_spectrum(self.psf, size, x.dtype, x.device)
                x = torch.fft.irfft2(torch.fft.rfft2(x, s=size) * transfer, s=size)
                # the first rows and columns hold what the circular convolution has wrapped around
                x = x[..., 2 * down : 2 * down + height, 2 * right : 2 * right + width]
        return x.reshape(b, c, height, width)

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """``A^T y``: (B, C, H, W) to the same."""
        down, right = (side // 2 for side in self.psf.shape)
        b, c, height, width = y.shape
        y = y.reshape(b * c, 1, height, width)
        match self._method(y.dtype):
            case "separable":
                column, row = _separable_kernels(self.psf, y.dtype, y.device)
                x = F.conv_transpose2d(F.conv_transpose2d(y, row), column)
            case "direct":
                x = F.conv_transpose2d(y, _kernel(self.psf, y.dtype, y.device))
            case "fft":
                wide = (height + 2 * down, width + 2 * right)
                size = _fast_size(wide)
                placed = F.pad(y, (2 * right, 0, 2 * down, 0))  # (B C, 1, H + 2 m, W + 2 n)
                transfer = _psf_spectrum(self.psf, size, y.dtype, y.device)
                x = torch.fft.irfft2(torch.fft.rfft2(placed, s=size) * transfer.conj(), s=size)
                x = x[..., : wide[0], : wide[1]]
        return repeat_border_adjoint(x, down, right).reshape(b, c, height, width)

    def _method(self, dtype: torch.dtype) -> Method:
        return fastest_method(self.psf, dtype) if self.method == "auto" else self.method


# Longest side for which two passes, along columns and along rows, are no slower than an FFT
# (times in docs/design/006-forward-operators.md).
SEPARABLE_SIDE = 15
# Most values for which one convolution is no slower than an FFT.
DIRECT_COUNT = 9


def fastest_method(psf: Psf, dtype: torch.dtype) -> Method:
    """Choose the fastest method to convolve with a PSF within the projected memory.

    In float64, in which residuals are computed, torch unfolds the image into as many copies as the PSF has
    values. There the FFT is the only method whose memory does not grow with the PSF.
    """
    height, width = psf.shape
    if dtype == torch.float64 and height * width > DIRECT_COUNT:
        return "fft"
    if height * width <= DIRECT_COUNT:
        return "direct"
    return "separable" if max(psf.shape) <= SEPARABLE_SIDE and is_separable(psf) else "fft"


def is_separable(psf: Psf) -> bool:
    """Whether a PSF is the product of a column and a row, to the rounding of float32."""
    return _column_and_row(psf) is not None


@lru_cache(maxsize=8)
def _column_and_row(
    psf: Psf,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """Column ``(h,)`` and row ``(w,)`` whose product is the PSF; None where there are none."""
    u, s, v = np.linalg.svd(psf.values(), full_matrices=False)
    if len(s) > 1 and s[1] > RANK_ONE * s[0]:
        return None
    column, row = np.float64(s[0]) * u[:, 0], v[0]
    total = column.sum() * row.sum()  # 1 but for the other singular values
    return np.asarray(column / total, np.float64), np.asarray(row, np.float64)


@lru_cache(maxsize=4)
def _separable_kernels(
    psf: Psf, dtype: torch.dtype, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Kernels of both passes, (1, 1, h, 1) and (1, 1, 1, w), flipped for torch's correlation."""
    parts = _column_and_row(psf)
    if parts is None:
        raise ValueError(f"PSF of {psf.shape[0]} x {psf.shape[1]} pixels: not separable")
    column, row = (torch.from_numpy(part[::-1].copy()).to(device, dtype) for part in parts)
    return column.view(1, 1, -1, 1), row.view(1, 1, 1, -1)


@lru_cache(maxsize=4)
def _kernel(psf: Psf, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The PSF flipped for torch's correlation, (1, 1, h, w)."""
    flipped = psf.values()[::-1, ::-1].copy()
    return torch.from_numpy(flipped).to(device, dtype)[None, None]


# Two entries: all windows of an image have one size, and each entry takes as much memory as an estimate.
@lru_cache(maxsize=2)
def _psf_spectrum(
    psf: Psf, size: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    """Spectrum of the PSF in the corner of an image of `size`, (size[0], size[1] // 2 + 1) complex."""
    values = torch.from_numpy(psf.values().copy()).to(device, dtype)
    transfer: torch.Tensor = torch.fft.rfft2(values, s=size)
    return transfer


def _fast_size(shape: Sequence[int]) -> tuple[int, int]:
    """Smallest height and width that are fast to transform and at least those of `shape`."""
    return _fast_length(shape[-2]), _fast_length(shape[-1])


def _fast_length(least: int) -> int:
    """Smallest number of at least `least` with no prime factor above 5."""
    candidate = least
    while True:
        rest = candidate
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return candidate
        candidate += 1
