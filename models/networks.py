"""Prior networks: untrained, fitted to one tile, thrown away.

`SkipNetwork` of kind `skip` is the encoder-decoder with skip connections of Ulyanov, Vedaldi & Lempitsky,
"Deep Image Prior" (CVPR 2018), read from their `models/skip.py`. One thing differs and changes no function
it can compute: convolutions before a batch norm carry no bias (the norm removes it). Kind `lean` leaves
out what costs time and gains nothing (docs/design/005-speed.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class NetworkSettings:
    """Shape of a prior network."""

    __pydantic_config__ = {"extra": "forbid"}

    kind: Literal["lean", "skip"] = "lean"
    """skip: encoder-decoder with skip connections, the network of the DIP paper; lean: the same with
    fewer channels at full resolution, one convolution instead of two on the way down, and no norm of
    what skip connections join."""
    channels: int = 32
    """Feature channels of every scale."""
    fine_channels: int = 16
    """Feature channels at full resolution, where most of the time goes; at most `channels` (lean)."""
    scales: int = 4
    """Times the resolution is halved."""
    skip_channels: int = 32
    """Channels of each skip connection; in a lean network at most those of its scale."""
    upsample: Literal["nearest", "bilinear"] = "nearest"
    """From scale to scale: nearest is as cheap as can be and fits faster; bilinear is the paper's."""
    output: Literal["linear", "sigmoid"] = "linear"
    """Last layer: linear may be negative, as sky must; sigmoid is the paper's."""


class Convolution(nn.Conv2d):
    """A convolution with reflected borders whose float32 weights take the precision of its input."""

    def __init__(
        self, inputs: int, outputs: int, size: int, stride: int = 1, bias: bool = False
    ) -> None:
        super().__init__(inputs, outputs, size, stride, bias=bias)
        self.margin = size // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) to (B, outputs, H/stride, W/stride)."""
        if self.margin:
            x = F.pad(x, (self.margin,) * 4, mode="reflect")
        return F.conv2d(x, self.weight.to(x.dtype), None, self.stride)


class Head(nn.Module):
    """The last layer, 1x1 and in float32: bf16 would round the estimate to 1/256 of its value."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) of any precision to (B, outputs, H, W) float32."""
        pixels = x.float().permute(0, 2, 3, 1)  # (B, H, W, inputs)
        return F.linear(pixels, self.weight, self.bias).permute(0, 3, 1, 2)


class BatchNorm(nn.Module):
    """Normalise each channel by the statistics of this very input, in float32; nothing is remembered."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))

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


class SkipNetwork(nn.Module):
    """An encoder-decoder with skip connections; (B, inputs, H, W) to (B, outputs, H, W).

    H and W are sizes that `padded_size` gives. Made on the meta device; `make_network` gives the weights
    their values.
    """

    def __init__(self, settings: NetworkSettings, inputs: int, outputs: int) -> None:
        super().__init__()
        wide, lean = settings.channels, settings.kind == "lean"
        fine = min(settings.fine_channels, wide) if lean else wide
        self.sigmoid = settings.output == "sigmoid"
        self.upsample = nn.Upsample(scale_factor=2, mode=settings.upsample)
        self.skips, self.downs = nn.ModuleList(), nn.ModuleList()
        self.narrowings, self.ups = nn.ModuleList(), nn.ModuleList()
        for scale in range(settings.scales):
            above, width = (inputs, fine) if scale == 0 else (wide, wide)
            skip = min(settings.skip_channels, width) if lean else settings.skip_channels
            if skip:
                self.skips.append(convolve_and_norm(above, skip, 1))
            down: list[nn.Module] = [convolve_and_norm(above, wide, 3, stride=2)]
            up: list[nn.Module] = [
                convolve_and_norm(skip + width, width, 3),
                convolve_and_norm(width, width, 1),
            ]
            if not lean:
                down.append(convolve_and_norm(wide, wide, 3))
                up.insert(0, BatchNorm(skip + width))
            self.downs.append(nn.Sequential(*down))
            self.ups.append(nn.Sequential(*up))
            # before the upsampling, where there is a quarter of the pixels
            narrower = width < wide
            self.narrowings.append(convolve_and_norm(wide, width, 1) if narrower else nn.Identity())
        self.head = Head(fine, outputs)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Paint an estimate from the input; float32 whatever the precision of `z`."""
        x, features = z, []
        for scale, down in enumerate(self.downs):
            if self.skips:
                features.append(self.skips[scale](x))  # (B, skip, H/2^k, W/2^k)
            x = down(x)  # (B, wide, H/2^(k+1), W/2^(k+1))
        for narrow, up in zip(reversed(self.narrowings), reversed(self.ups), strict=True):
            x = self.upsample(narrow(x))  # (B, width, H/2^k, W/2^k)
            if features:
                x = torch.cat([features.pop(), x], 1)
            x = up(x)  # (B, width, H/2^k, W/2^k)
        x = self.head(x)  # (B, outputs, H, W)
        return torch.sigmoid(x) if self.sigmoid else x


def padded_size(settings: NetworkSettings, height: int, width: int) -> tuple[int, int]:
    """Smallest size the network can take that holds `height` and `width`, in pixels.

    A multiple of 2^scales, and two pixels at the deepest scale: a border must have something to reflect.
    """
    multiple = 2**settings.scales
    rows, columns = (max(2, -(-n // multiple)) * multiple for n in (height, width))
    return rows, columns


def make_network(
    settings: NetworkSettings, inputs: int, outputs: int, generator: torch.Generator
) -> SkipNetwork:
    """Build a prior network whose weights depend on the generator alone, never on torch's global one.

    Parameters
    ----------
    settings
        Its shape.
    inputs, outputs
        Channels of the input and of the estimate.
    generator
        On the CPU, so that the weights are the same on every device.

    Returns
    -------
    The network, float32, on the CPU. Weights are torch's default for convolutions (uniform within
    ``1 / sqrt(fan in)``), which is also the paper's.
    """
    with torch.device("meta"):
        network = SkipNetwork(settings, inputs, outputs)
    network.to_empty(device="cpu")
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (Convolution, Head)):
                bound = module.weight[0].numel() ** -0.5
                module.weight.uniform_(-bound, bound, generator=generator)
            if isinstance(module, Head):
                module.bias.uniform_(-bound, bound, generator=generator)
            elif isinstance(module, BatchNorm):
                module.weight.fill_(1)
                module.bias.fill_(0)
    return network
