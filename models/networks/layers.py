"""The stones that prior networks are built of.

Weights are made empty; `glassplate.models.networks.make.make_network` gives them their values.

Torch's own gradients of reflected borders and of pooling add in no fixed order on CUDA, and that of bilinear
interpolation is slow where determinism is asked for. There the same is put together from slices.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn


class Convolution(nn.Conv2d):
    """A convolution with reflected borders whose float32 weights take the precision of its input."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, size, stride, bias=False)
        self.margin = size // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) to (B, outputs, H/stride, W/stride)."""
        return F.conv2d(reflected(x, self.margin), self.weight.to(x.dtype), None, self.stride)


class Doubled(nn.Module):
    """Twice the size along both axes; (B, C, H, W) to (B, C, 2 H, 2 W)."""

    def __init__(self, mode: Literal["nearest", "bilinear"]) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Interpolate; pixels are areas, so that nothing moves."""
        if self.mode == "bilinear" and torch.are_deterministic_algorithms_enabled():
            return _doubled(_doubled(x, 2), 3)
        return F.interpolate(x, scale_factor=2, mode=self.mode)


class Halved(nn.Module):
    """The largest of each 2x2 pixels; (B, C, H, W), H and W even, to (B, C, H/2, W/2)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pool."""
        if not torch.are_deterministic_algorithms_enabled():
            return F.max_pool2d(x, 2)
        x = torch.maximum(x[..., ::2, :], x[..., 1::2, :])
        return torch.maximum(x[..., ::2], x[..., 1::2])


def reflected(x: torch.Tensor, margin: int) -> torch.Tensor:
    """Borders reflected in their outermost pixels; (B, C, H, W) to (B, C, H + 2 margin, W + 2 margin)."""
    if not margin:
        return x
    if not torch.are_deterministic_algorithms_enabled():
        return F.pad(x, (margin,) * 4, mode="reflect")
    for axis in (2, 3):
        before = x.narrow(axis, 1, margin).flip(axis)
        after = x.narrow(axis, x.shape[axis] - 1 - margin, margin).flip(axis)
        x = torch.cat([before, x, after], axis)
    return x


def _doubled(x: torch.Tensor, axis: int) -> torch.Tensor:
    """Linear interpolation along one axis: a quarter of each pixel's share is its neighbour's."""
    n = x.shape[axis]
    before = torch.cat([x.narrow(axis, 0, 1), x.narrow(axis, 0, n - 1)], axis)
    after = torch.cat([x.narrow(axis, 1, n - 1), x.narrow(axis, n - 1, 1)], axis)
    pairs = torch.stack([x.lerp(before, 0.25), x.lerp(after, 0.25)], axis + 1)
    return pairs.flatten(axis, axis + 1)


class Head(nn.Module):
    """The last layer, 1x1 and in float32: bf16 would round the estimate to 1/256 of its value."""

    def __init__(self, inputs: int, outputs: int, ending: Literal["linear", "sigmoid"]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.sigmoid = ending == "sigmoid"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) of any precision to (B, outputs, H, W) float32."""
        pixels = x.float().permute(0, 2, 3, 1)  # (B, H, W, inputs)
        x = F.linear(pixels, self.weight, self.bias).permute(0, 3, 1, 2)
        return torch.sigmoid(x) if self.sigmoid else x


class BatchNorm(nn.Module):
    """Normalise each channel by the statistics of this very input, in float32; nothing is remembered.

    Without `shift` the channels keep a mean of 0: where the next norm removes any other, a weight for it
    would never get a gradient.
    """

    def __init__(self, channels: int, shift: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels)) if shift else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) to the same."""
        return F.batch_norm(x, None, None, self.weight, self.bias, training=True)


def convolve_and_norm(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, LeakyReLU: the one building stone."""
    return nn.Sequential(
        Convolution(inputs, outputs, size, stride),
        BatchNorm(outputs),
        nn.LeakyReLU(0.2, inplace=True),
    )
