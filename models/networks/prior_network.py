"""What every kind of prior network has in common."""

from __future__ import annotations

import torch
from torch import nn

from glassplate.models.networks.layers import Head


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
