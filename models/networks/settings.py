"""What a prior network is: the settings of its shape, and what each kind promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from glassplate.models.networks.layers import Head


@dataclass(frozen=True)
class NetworkSettings:
    """Shape of a prior network."""

    __pydantic_config__ = {"extra": "forbid"}

    kind: Literal["lean", "skip", "hourglass", "unet", "resnet", "decoder"] = "lean"
    """skip: encoder-decoder with skip connections, the network of the DIP paper; lean: the same with
    fewer channels at full resolution, one convolution instead of two on the way down, and no norm of
    what skip connections join; hourglass: skip without skip connections; unet: skip connections carry
    all channels; resnet: residual blocks at full resolution; decoder: 1x1 convolutions and upsampling
    from a small random code, few weights, no input but `noise`. docs/networks.md: which for what."""
    channels: int = 32
    """Feature channels of every scale; of a unet those at full resolution, doubled with every scale."""
    fine_channels: int = 16
    """Feature channels at full resolution, where most of the time goes; at most `channels` (lean)."""
    scales: int = 4
    """Times the resolution is halved; of a resnet, which never halves it, the residual blocks."""
    skip_channels: int = 32
    """Channels of each skip connection; in a lean network at most those of its scale (lean, skip)."""
    upsample: Literal["nearest", "bilinear"] = "nearest"
    """From scale to scale: nearest is as cheap as can be and fits faster; bilinear is the paper's
    (lean, skip, hourglass, unet; a decoder's is always bilinear)."""
    output: Literal["linear", "sigmoid"] = "linear"
    """Last layer: linear may be negative, as sky must; sigmoid is the paper's."""

    def __post_init__(self) -> None:
        for name, least in (
            ("channels", 1),
            ("fine_channels", 1),
            ("scales", 1),
            ("skip_channels", 0),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least {least}")


class PriorNetwork(nn.Module, ABC):
    """An untrained network that paints an estimate from an input.

    (B, inputs, H', W') of any precision to (B, outputs, H, W) float32, where H and W are sizes that
    `padded_size` gives and H' and W' what `input_size` makes of them. Made on the meta device;
    `make_network` gives the weights their values.
    """

    head: Head
    """The last layer, registered last: weights are drawn in the order of registration."""

    @abstractmethod
    def features(self, z: torch.Tensor) -> torch.Tensor:
        """Everything but the last layer; (B, inputs, H', W') to (B, features, H, W)."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Paint an estimate from the input; float32 whatever the precision of `z`."""
        x: torch.Tensor = self.head(self.features(z))  # (B, outputs, H, W)
        return x
