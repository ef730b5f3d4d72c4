"""Layers of which prior networks are built.

Weights are created empty; `glassplate.models.networks.make.make_network` gives them their values.

Torch's own gradients of reflected borders and of pooling sum in no fixed order on CUDA, and its gradient of
bilinear interpolation is slow in deterministic mode. In that mode the layers compute the same from slices.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn


class Convolution(nn.Conv2d):
    """A convolution with reflected borders. Its float32 weights are cast to the precision of the input."""

    def __init__(
        self, inputs: int, outputs: int, size: int, stride: int = 1, *, bias: bool = False
    ) -> None:
        super().__init__(inputs, outputs, size, stride, bias=bias)
        self.margin = size // 2

    def reset_parameters(self) -> None:
        """Draw nothing, where torch would draw weights from its global generator."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) to (B, outputs, H/stride, W/stride)."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.conv2d(pad_reflect(x, self.margin), self.weight.to(x.dtype), bias, self.stride)


class Upsample(nn.Module):
    """Interpolate to twice the size along both axes; (B, C, H, W) to (B, C, 2 H, 2 W)."""

    def __init__(self, mode: Literal["nearest", "bilinear"]) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Interpolate; pixels are areas, so that the image does not shift."""
        if self.mode == "nearest":
            doubled: torch.Tensor = _Repeated.apply(x)  # type: ignore[no-untyped-call]
            return doubled
        if torch.are_deterministic_algorithms_enabled():
            return _interpolate_axis(_interpolate_axis(x, 2), 3)
        return F.interpolate(x, scale_factor=2, mode=self.mode)


class _Repeated(torch.autograd.Function):
    """Nearest neighbours at twice the size, with a faster backward pass than torch's own on a CPU."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: torch.Tensor) -> torch.Tensor:
        """Repeat each pixel of (B, C, H, W) twice along both axes."""
        return F.interpolate(x, scale_factor=2, mode="nearest")

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: torch.Tensor) -> torch.Tensor:
        """Sum the gradients of each pixel's four copies."""
        return 4 * F.avg_pool2d(gradient, 2)


class MaxPool(nn.Module):
    """Largest value of each 2x2 pixels; (B, C, H, W), H and W even, to (B, C, H/2, W/2)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pool."""
        if not torch.are_deterministic_algorithms_enabled():
            return F.max_pool2d(x, 2)
        x = torch.maximum(x[..., ::2, :], x[..., 1::2, :])
        return torch.maximum(x[..., ::2], x[..., 1::2])


def pad_reflect(x: torch.Tensor, margin: int) -> torch.Tensor:
    """Reflect the image at its outermost pixels; (B, C, H, W) to (B, C, H + 2 margin, W + 2 margin)."""
    if not margin:
        return x
    if not torch.are_deterministic_algorithms_enabled():
        return F.pad(x, (margin,) * 4, mode="reflect")
    for axis in (2, 3):
        before = x.narrow(axis, 1, margin).flip(axis)
        after = x.narrow(axis, x.shape[axis] - 1 - margin, margin).flip(axis)
        x = torch.cat([before, x, after], axis)
    return x


def _interpolate_axis(x: torch.Tensor, axis: int) -> torch.Tensor:
    """Interpolate linearly to twice the size along one axis: 3/4 of a pixel and 1/4 of its neighbour."""
    n = x.shape[axis]
    before = torch.cat([x.narrow(axis, 0, 1), x.narrow(axis, 0, n - 1)], axis)
    after = torch.cat([x.narrow(axis, 1, n - 1), x.narrow(axis, n - 1, 1)], axis)
    pairs = torch.stack([x.lerp(before, 0.25), x.lerp(after, 0.25)], axis + 1)
    return pairs.flatten(axis, axis + 1)


class Head(nn.Module):
    """The last layer, a 1x1 convolution in float32: bf16 would round the estimate to 1/256 of its value."""

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
    """Normalise each channel by the mean and variance of the current input, in float32; keep no running ones.

    Without `shift` there is no bias, and each channel has a mean of 0: where a following norm removes the
    mean, the bias would never get a gradient.
    """

    def __init__(self, channels: int, shift: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels)) if shift else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) to the same."""
        return F.batch_norm(x, None, None, self.weight, self.bias, training=True)


def conv_norm_activation(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm and LeakyReLU: the block of which all networks but the decoder consist."""
    return nn.Sequential(
        Convolution(inputs, outputs, size, stride),
        BatchNorm(outputs),
        nn.LeakyReLU(0.2, inplace=True),
    )


class Residual(nn.Module):
    """The sum of an input and what its layers make of it; (B, channels, H, W) to the same."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layers and add."""
        added: torch.Tensor = self.body(x)
        return x + added
