"""Prior networks that paint and learn together, one for each window of a stack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, Self

import torch

from glassplate.models.batching.joint import Joint
from glassplate.models.device.numerics import Numerics
from glassplate.models.networks.settings import PriorNetwork


class Begun(NamedTuple):
    """A prior network at the beginning of its fit."""

    network: torch.nn.Module
    """On the device, with the weights it starts from."""
    rate: float
    """Adam's learning rate."""


class Networks(Protocol):
    """One network for each slot of a stack, with its optimiser; no slot knows of another."""

    def paint(self, z: torch.Tensor) -> torch.Tensor:
        """Inputs (B, inputs, H', W'), one for each network, to their outputs (B, C, H, W) float32."""

    def improve(self, loss: torch.Tensor) -> None:
        """One step of every optimiser down the gradient of a scalar, the sum over all windows."""

    def put(self, slot: int, begun: Begun) -> None:
        """Begin anew in one slot."""

    def kept(self, slots: Sequence[int]) -> Self:
        """These slots alone, in this order."""


class Separate:
    """Each network and its optimiser by itself, one after the other: bit for bit what each is alone."""

    def __init__(self, begun: Sequence[Begun]) -> None:
        self.networks = [one.network for one in begun]
        self.optimisers = [_adam(one) for one in begun]

    def paint(self, z: torch.Tensor) -> torch.Tensor:
        """Inputs (B, inputs, H', W') to outputs (B, C, H, W)."""
        each = torch.split(z, 1)  # (1, inputs, H', W')
        painted = [network(one) for network, one in zip(self.networks, each, strict=True)]
        return painted[0] if len(painted) == 1 else torch.cat(painted)

    def improve(self, loss: torch.Tensor) -> None:
        """One step of every optimiser."""
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for optimiser in self.optimisers:
            optimiser.step()

    def set_rate(self, rate: float) -> None:
        """Change the learning rate of all."""
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate

    def put(self, slot: int, begun: Begun) -> None:
        """Begin anew in one slot."""
        self.networks[slot], self.optimisers[slot] = begun.network, _adam(begun)

    def kept(self, slots: Sequence[int]) -> Separate:
        """These slots alone, in this order."""
        fewer = Separate([])
        fewer.networks = [self.networks[slot] for slot in slots]
        fewer.optimisers = [self.optimisers[slot] for slot in slots]
        return fewer


def _adam(begun: Begun) -> torch.optim.Optimizer:
    return torch.optim.Adam(begun.network.parameters(), lr=begun.rate, fused=True)


def networks_together(begun: Sequence[Begun], numerics: Numerics) -> Networks:
    """Put networks of one shape together as the numerics say; one alone is always by itself."""
    if len(begun) == 1 or numerics.together == "separate":
        return Separate(begun)
    networks = [one.network for one in begun]
    if not all(isinstance(network, PriorNetwork) for network in networks):
        raise TypeError(f"networks of type {type(networks[0]).__name__} have no joint form")
    return Joint.of(networks, [one.rate for one in begun], numerics.together)
