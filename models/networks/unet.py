"""The U-Net: an encoder-decoder whose skip connections carry all channels.

Ronneberger, Fischer & Brox, "U-Net" (MICCAI 2015), in the form of `models/unet.py` of the Deep Image Prior
paper: padded convolutions, upsampling followed by a convolution. What differs from that code: reflected
borders, LeakyReLU instead of ReLU, a norm after every convolution on the way up too (it has none there), no
bias before a norm, and the last layer as in every network here. The default widths of that code, 16 to 256
(feature_scale 4), are `channels: 16, scales: 4`.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn

from glassplate.models.networks.layers import Head, MaxPool, Upsample, conv_norm_activation
from glassplate.models.networks.prior_network import PriorNetwork
from glassplate.models.networks.settings import NetworkSettings


class UNet(PriorNetwork):
    """A U-Net; the channels double where the resolution is halved."""

    def __init__(self, settings: NetworkSettings, inputs: int, outputs: int) -> None:
        super().__init__()
        widths = [settings.channels << scale for scale in range(settings.scales + 1)]
        self.upsample = Upsample(settings.upsample)
        self.start = two_convolutions(inputs, widths[0])
        self.downs, self.narrowings, self.ups = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for above, below in itertools.pairwise(widths):
            self.downs.append(nn.Sequential(MaxPool(), two_convolutions(above, below)))
            self.narrowings.append(conv_norm_activation(below, above, 3))
            self.ups.append(two_convolutions(2 * above, above))
        self.head = Head(widths[0], outputs, settings.output)

    def features(self, z: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) to (B, channels, H, W)."""
        x, passed = self.start(z), []  # (B, channels, H, W)
        for down in self.downs:
            passed.append(x)  # (B, channels 2^k, H/2^k, W/2^k)
            x = down(x)  # (B, channels 2^(k+1), H/2^(k+1), W/2^(k+1))
        for narrow, up in zip(reversed(self.narrowings), reversed(self.ups), strict=True):
            x = narrow(self.upsample(x))  # (B, channels 2^k, H/2^k, W/2^k)
            x = up(torch.cat([passed.pop(), x], 1))  # the same
        features: torch.Tensor = x
        return features


def two_convolutions(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with norm and activation."""
    return nn.Sequential(
        conv_norm_activation(inputs, outputs, 3), conv_norm_activation(outputs, outputs, 3)
    )
