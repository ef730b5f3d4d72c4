"""The U-Net: an encoder-decoder whose skip connections carry all channels.

Ronneberger, Fischer & Brox, "U-Net" (MICCAI 2015), in the form of `models/unet.py` of the Deep Image Prior
paper: borders kept, upsampling followed by a convolution. What differs from that code: reflected borders,
LeakyReLU for ReLU, a norm after every convolution on the way up too (it has none there), no bias before a
norm, and the last layer as in every network here. Its default widths, 16 to 256 (feature_scale 4), are
`channels: 16, scales: 4`.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn

from glassplate.models.networks.layers import Doubled, Halved, Head, convolve_and_norm
from glassplate.models.networks.settings import NetworkSettings, PriorNetwork


class UNet(PriorNetwork):
    """A U-Net; the channels double where the resolution is halved."""

    def __init__(self, settings: NetworkSettings, inputs: int, outputs: int) -> None:
        super().__init__()
        widths = [settings.channels << scale for scale in range(settings.scales + 1)]
        self.upsample = Doubled(settings.upsample)
        self.start = convolve_twice(inputs, widths[0])
        self.downs, self.narrowings, self.ups = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for above, below in itertools.pairwise(widths):
            self.downs.append(nn.Sequential(Halved(), convolve_twice(above, below)))
            self.narrowings.append(convolve_and_norm(below, above, 3))
            self.ups.append(convolve_twice(2 * above, above))
        self.head = Head(widths[0], outputs, settings.output)

    def features(self, z: torch.Tensor) -> torch.Tensor:
        """Down through the scales and up again, each met by what it was on the way down."""
        x, passed = self.start(z), []  # (B, channels, H, W)
        for down in self.downs:
            passed.append(x)  # (B, channels 2^k, H/2^k, W/2^k)
            x = down(x)  # (B, channels 2^(k+1), H/2^(k+1), W/2^(k+1))
        for narrow, up in zip(reversed(self.narrowings), reversed(self.ups), strict=True):
            x = narrow(self.upsample(x))  # (B, channels 2^k, H/2^k, W/2^k)
            x = up(torch.cat([passed.pop(), x], 1))  # the same
        features: torch.Tensor = x
        return features


def convolve_twice(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions of 3x3, each with its norm."""
    return nn.Sequential(
        convolve_and_norm(inputs, outputs, 3), convolve_and_norm(outputs, outputs, 3)
    )
