"""Prior networks of several fits side by side, one for each slot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

import torch

from glassplate.models.batching.grouped_networks import GroupedNetworks
from glassplate.models.device.numerics import Numerics
from glassplate.models.fit.loop import Network, Networks
from glassplate.models.networks.prior_network import PriorNetwork


class StackedNetworks(Networks, Protocol):
    """Networks whose slots can be refilled and given up."""

    def put(self, slot: int, network: Network) -> None:
        """Begin another fit in a slot."""

    def kept(self, slots: Sequence[int]) -> Self:
        """Return these slots alone, in this order."""


class SeparateNetworks:
    """Networks that work one after the other: each is bit for bit what it is alone."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self.networks = list(networks)

    def paint(self, z: torch.Tensor) -> torch.Tensor:
        """Map inputs (B, inputs, H', W') to outputs (B, C, H, W)."""
        each = torch.split(z, 1)  # (1, inputs, H', W')
        painted = [network.paint(one) for network, one in zip(self.networks, each, strict=True)]
        return painted[0] if len(painted) == 1 else torch.cat(painted)

    def step(self, loss: torch.Tensor, learning: Sequence[bool]) -> None:
        """Let the optimisers of the networks that learn take one step."""
        for network in self.networks:
            network.optimiser.clear_gradients()
        loss.backward()  # type: ignore[no-untyped-call]
        for network, learns in zip(self.networks, learning, strict=True):
            if learns:
                network.optimiser.step()

    def put(self, slot: int, network: Network) -> None:
        """Begin another fit in a slot."""
        self.networks[slot] = network

    def kept(self, slots: Sequence[int]) -> SeparateNetworks:
        """Return these slots alone, in this order."""
        return SeparateNetworks([self.networks[slot] for slot in slots])


def networks_together(networks: Sequence[Network], numerics: Numerics) -> StackedNetworks:
    """Put networks of one shape together as the numerics say. One alone is always separate."""
    if len(networks) == 1 or numerics.together == "separate":
        return SeparateNetworks(networks)
    modules = [network.module for network in networks]
    if not all(isinstance(module, PriorNetwork) for module in modules):
        raise TypeError(f"networks of type {type(modules[0]).__name__} cannot be grouped")
    return GroupedNetworks.of(modules, [network.learning_rate for network in networks])
