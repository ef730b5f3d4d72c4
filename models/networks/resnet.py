"""The ResNet: residual blocks at full resolution, a prior without scales.

`models/resnet.py` of the Deep Image Prior paper (after He et al., "Deep Residual Learning", CVPR 2016): a
convolution, blocks of two convolutions with batch norm, no activation after the sum, one more convolution
with batch norm. Four things differ from that code: borders are reflected everywhere (it pads with zeros
inside); a norm replaces the bias after the first convolution; the last layer is 1x1 as in every network here
(there 3x3); the second norm of a block has no bias, because the norm after the last block removes it. The
paper's 8 blocks of 32 channels are `scales: 8, channels: 32`.
"""

from __future__ import annotations

from torch import nn

from glassplate.models.networks.layers import (
    BatchNorm,
    Convolution,
    Head,
    Residual,
    conv_norm_activation,
)
from glassplate.models.networks.prior_network import PriorNetwork
from glassplate.models.networks.settings import NetworkSettings


class ResNet(PriorNetwork):
    """`scales` residual blocks of `channels` channels."""

    def __init__(self, settings: NetworkSettings, inputs: int, outputs: int) -> None:
        super().__init__()
        wide = settings.channels
        blocks = [
            Residual(
                conv_norm_activation(wide, wide, 3),
                Convolution(wide, wide, 3),
                BatchNorm(wide, shift=False),
            )
            for _ in range(settings.scales)
        ]
        self.body = nn.Sequential(
            conv_norm_activation(inputs, wide, 3),
            *blocks,
            Convolution(wide, wide, 3),
            BatchNorm(wide),
        )
        self.head = Head(wide, outputs, settings.output)
