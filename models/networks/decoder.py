"""The Deep Decoder: no encoder, no spatial convolution, and so few weights that it can hardly fit noise.

Heckel & Hand, "Deep Decoder" (ICLR 2019), read from `include/decoder.py` of their code: from a small random
code, layers of a 1x1 convolution, bilinear upsampling by 2, ReLU and channel normalisation, one such layer
without the upsampling, then the last layer. Two things differ from their code: the random code has
`fit.input_depth` channels instead of as many as the layers, and the last layer has a bias. The random code
does not change during a fit.
"""

from __future__ import annotations

from torch import nn

from glassplate.models.networks.layers import BatchNorm, Convolution, Head, Upsample
from glassplate.models.networks.prior_network import PriorNetwork
from glassplate.models.networks.settings import NetworkSettings


class Decoder(PriorNetwork):
    """`scales` upsampling layers of `channels` channels; (B, inputs, h, w) to 2^scales times the size."""

    def __init__(self, settings: NetworkSettings, inputs: int, outputs: int) -> None:
        super().__init__()
        wide = settings.channels
        # Always bilinear: 1x1 convolutions see no neighbours, so that with nearest the estimate would consist
        # of squares of 2^scales pixels.
        layers = [
            module
            for scale in range(settings.scales)
            for module in (
                Convolution(inputs if scale == 0 else wide, wide, 1),
                Upsample("bilinear"),
                nn.ReLU(inplace=True),
                BatchNorm(wide),
            )
        ]
        self.body = nn.Sequential(
            *layers, Convolution(wide, wide, 1), nn.ReLU(inplace=True), BatchNorm(wide)
        )
        self.head = Head(wide, outputs, settings.output)
