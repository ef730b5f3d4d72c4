"""The shape of a prior network as the user sets it, and the interface that every kind has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from glassplate.models.networks.layers import Head


@dataclass(frozen=True)
class NetworkSettings:
    """Shape of a prior network."""

    __pydantic_config__ = {"extra": "forbid"}

    kind: Literal[
        "lean", "unshuffled", "skip", "hourglass", "unet", "resnet", "decoder", "enlarging"
    ] = "lean"
    """skip: encoder-decoder with skip connections, the network of the DIP paper; lean: the same with
    fewer channels at full resolution, one convolution instead of two on the way down, and no norm where
    skip connections join; unshuffled: lean at half the resolution, where each square of 2x2 pixels is four
    channels; hourglass: skip without skip connections; unet: skip connections carry all
    channels; resnet: residual blocks at full resolution; decoder: 1x1 convolutions and upsampling from a
    small random code, few weights, no input but `noise`; enlarging: residual blocks that double the size of
    an image, and learn it from the image made smaller (superres). docs/networks.md says which kind suits
    what."""
    channels: int = 32
    """Feature channels of every scale; for a unet those at full resolution, doubled with every scale."""
    fine_channels: int = 16
    """Feature channels at the finest resolution, where most of the time goes; at most `channels` (lean,
    unshuffled)."""
    scales: int = 4
    """How often the resolution is halved; for a resnet and an enlarging network, which never halve it, the
    number of blocks."""
    skip_channels: int = 32
    """Channels of each skip connection; in a lean network at most those of its scale (lean, unshuffled,
    skip)."""
    upsample: Literal["nearest", "bilinear"] = "nearest"
    """Upsampling from scale to scale: nearest is cheapest and fits faster; bilinear is the paper's
    (lean, unshuffled, skip, hourglass, unet; a decoder is always bilinear)."""
    output: Literal["linear", "sigmoid"] = "linear"
    """Last layer: linear allows negative values, which sky needs; sigmoid is the paper's."""

    def __post_init__(self) -> None:
        for name, least in (
            ("channels", 1),
            ("fine_channels", 1),
            ("scales", 1),
            ("skip_channels", 0),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least {least}")


class PriorNetwork(nn.Module):
    """An untrained network that makes an estimate from an input.

    (B, inputs, H', W') of any precision to (B, outputs, H, W) float32, where `padded_size` gives H and W, and
    `input_size` gives H' and W'. A network is created on the meta device, and `make_network` gives its
    weights their values.
    """

    body: nn.Module
    """All layers but the last, in a network that applies them in a row."""
    head: Head
    """The last layer, registered last: weights are drawn in the order of registration."""

    def features(self, z: torch.Tensor) -> torch.Tensor:
        """Apply all layers but the last; (B, inputs, H', W') to (B, features, H, W)."""
        x: torch.Tensor = self.body(z)
        return x

    def scale_weights(self) -> None:
        """Multiply the weights, once they are drawn, by factors of the network's own; there are none."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Make an estimate from the input `z`; float32 whatever the precision of `z`."""
        x: torch.Tensor = self.head(self.features(z))  # (B, outputs, H, W)
        return x
