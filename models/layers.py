"""The stones that prior networks are built of.

Weights are made empty; `glassplate.models.networks.make_network` gives them their values.
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
        if self.margin:
            x = F.pad(x, (self.margin,) * 4, mode="reflect")
        return F.conv2d(x, self.weight.to(x.dtype), None, self.stride)


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
