"""Several prior networks of one shape as one network of grouped convolutions.

A tile's network is small. Alone it leaves a large device idle between the starts of its kernels; here each
kernel serves all windows of a stack. Activations keep their shape (B, C, H, W), and layers without weights
stay what they are. Layers with weights get a leading axis for the networks, and no window sees another's.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from glassplate.models.fit.adam import BETA1, BETA2, EPSILON
from glassplate.models.fit.loop import Network
from glassplate.models.networks.layers import BatchNorm, Convolution, Head, pad_reflect


class GroupedNetworks:
    """Prior networks of one shape; weights, gradients and Adam's moments are one buffer each.

    Parameters
    ----------
    network
        One of them, for its shape.
    weights
        (B, P) float32: all weights of each network, in the order of `network.parameters()`.
    learning_rates
        (B, 1) float64.
    """

    def __init__(
        self, network: nn.Module, weights: torch.Tensor, learning_rates: torch.Tensor
    ) -> None:
        self.template, self.learning_rates = network, learning_rates
        self.weights = weights.requires_grad_()
        self.first, self.second = torch.zeros((2, *weights.shape), device=weights.device)
        # float64 as in torch's own Adam: its corrections lose digits where they are near 0
        self.steps = torch.zeros_like(learning_rates)
        self.network = copy.deepcopy(network)
        self.layers = group_layers(self.network)

    @classmethod
    def of(cls, networks: Sequence[nn.Module], learning_rates: Sequence[float]) -> GroupedNetworks:
        """Group networks of one shape, with the weights that they have."""
        weights = torch.stack([_flat(network) for network in networks])
        each = torch.tensor(learning_rates, dtype=torch.float64).to(weights.device)
        return cls(networks[0], weights, each[:, None])

    def paint(self, z: torch.Tensor) -> torch.Tensor:
        """Map inputs (B, inputs, H', W') to outputs (B, C, H, W)."""
        # views of the one buffer, so that their gradients come back as one
        sizes = [weight.numel() for weight in self.template.parameters()]
        parts = torch.split(self.weights, sizes, 1)
        for (name, like), part in zip(self.template.named_parameters(), parts, strict=True):
            path, _, kind = name.rpartition(".")
            setattr(self.layers[path], kind, part.view(-1, *like.shape))
        painted: torch.Tensor = self.network(z)
        return painted

    def step(self, loss: torch.Tensor, learning: Sequence[bool]) -> None:
        """Let the optimisers of the networks that learn take one step."""
        [gradients] = torch.autograd.grad(loss, self.weights)
        self._adam(gradients, learning)

    @torch.no_grad()
    def _adam(self, gradients: torch.Tensor, learning: Sequence[bool]) -> None:
        """Take one step of Adam for each network, counted from its own beginning."""
        self.steps += 1
        rates = self.learning_rates
        if not all(learning):  # a network that has ended learning never learns again
            rates = rates * torch.tensor(learning).to(rates.device)[:, None]
        size = (rates / (1 - BETA1**self.steps)).float()  # (B, 1)
        correction = (1 - BETA2**self.steps).sqrt().float()  # (B, 1)
        self.first.lerp_(gradients, 1 - BETA1)
        self.second.mul_(BETA2).addcmul_(gradients, gradients, value=1 - BETA2)
        spread = self.second.sqrt() / correction + EPSILON
        self.weights.addcdiv_(self.first * size, spread, value=-1)

    @torch.no_grad()
    def put(self, slot: int, network: Network) -> None:
        """Begin another fit in a slot."""
        self.weights[slot].copy_(_flat(network.module))
        self.learning_rates[slot] = network.learning_rate
        for state in (self.first, self.second, self.steps):
            state[slot].zero_()

    def kept(self, slots: Sequence[int]) -> GroupedNetworks:
        """Return these slots alone, in this order."""

        def chosen(whole: torch.Tensor) -> torch.Tensor:
            return torch.stack([whole[slot] for slot in slots])

        fewer = GroupedNetworks(
            self.template, chosen(self.weights.detach()), chosen(self.learning_rates)
        )
        fewer.first, fewer.second = chosen(self.first), chosen(self.second)
        fewer.steps = chosen(self.steps)
        return fewer


def _flat(network: nn.Module) -> torch.Tensor:
    return torch.cat([weight.detach().reshape(-1) for weight in network.parameters()])


def group_layers(module: nn.Module, path: str = "") -> dict[str, nn.Module]:
    """Replace every layer below a module that has weights by its grouped form.

    Returns
    -------
    The new layers by their path; the caller sets their weights before each use.
    """
    found: dict[str, nn.Module] = {}
    for name, child in module.named_children():
        own = f"{path}{name}"
        grouped = _grouped_form(child)
        if grouped is None:
            found.update(group_layers(child, f"{own}."))
        else:
            setattr(module, name, grouped)
            found[own] = grouped
    return found


def _grouped_form(layer: nn.Module) -> nn.Module | None:
    """The grouped form of a layer; None for a layer without weights of its own."""
    match layer:
        case Convolution():
            return GroupedConvolution(layer)
        case Head():
            return GroupedHead(layer)
        case BatchNorm():
            return GroupedBatchNorm()
    return None


class GroupedConvolution(nn.Module):
    """`Convolution` of several networks; weight (B, outputs, inputs, size, size)."""

    weight: torch.Tensor

    def __init__(self, like: Convolution) -> None:
        super().__init__()
        self.margin, self.stride = like.margin, like.stride[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H/stride, W/stride)."""
        x = pad_reflect(x, self.margin)
        weight = self.weight.to(x.dtype)
        b, outputs = weight.shape[:2]
        x = x.reshape(1, -1, *x.shape[-2:])  # (1, B inputs, H, W)
        x = F.conv2d(x, weight.flatten(0, 1), None, self.stride, groups=b)
        return x.view(b, outputs, *x.shape[-2:])


class GroupedHead(nn.Module):
    """`Head` of several networks; weight (B, outputs, inputs), bias (B, outputs)."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, like: Head) -> None:
        super().__init__()
        self.sigmoid = like.sigmoid

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, inputs, H, W) of any precision to (B, outputs, H, W) float32."""
        pixels = x.float().flatten(2)  # (B, inputs, H W)
        y = torch.baddbmm(self.bias[..., None], self.weight, pixels)
        y = y.view(*y.shape[:2], *x.shape[-2:])
        return torch.sigmoid(y) if self.sigmoid else y


class GroupedBatchNorm(nn.Module):
    """`BatchNorm` of several networks: each channel of each window by its own statistics.

    Weight and bias are (B, channels). There is no bias where the layer that it replaces has none.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, channels, H, W) to the same."""
        bias = None if self.bias is None else self.bias.flatten()
        channels = x.reshape(1, -1, *x.shape[-2:])  # (1, B channels, H, W)
        y = F.batch_norm(channels, None, None, self.weight.flatten(), bias, training=True)
        return y.view_as(x)
