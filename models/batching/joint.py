"""Several prior networks of one shape as one: every layer does its work for all of them at once.

A tile's network is small. Alone it leaves a large device idle between the starts of its kernels; here each
kernel serves all windows of a stack. Activations keep their shape (B, C, H, W), one window after the other,
so that all layers without weights are what they were; those with weights have a leading axis for the
networks, and hold no more than one network each: no window sees another.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import nn

from glassplate.models.networks.layers import BatchNorm, Convolution, Head, pad_reflect

Way: TypeAlias = Literal["grouped", "gemm"]
"""How convolutions of several networks are done: grouped, one convolution with a group for each network;
gemm, a batched matrix product for each of the kernel's taps."""

# Adam's, of Kingma & Ba (2015), as everywhere here.
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Joint:
    """Prior networks of one shape in one; weights, gradients and Adam's moments are one buffer each.

    Parameters
    ----------
    network
        One of them, for its shape.
    weights
        (B, P) float32: all weights of each, in the order of `network.parameters()`.
    rates
        (B, 1) float64: learning rate of each.
    way
        How convolutions are done.
    """

    def __init__(
        self, network: nn.Module, weights: torch.Tensor, rates: torch.Tensor, way: Way
    ) -> None:
        self.template, self.way, self.rates = network, way, rates
        self.weights = weights.requires_grad_()
        self.first, self.second = torch.zeros((2, *weights.shape), device=weights.device)
        # float64 as in torch's own Adam: its corrections lose digits where they are near 0
        self.steps = torch.zeros_like(rates)
        self.network = copy.deepcopy(network)
        self.layers = joined_layers(self.network, way)

    @classmethod
    def of(cls, networks: Sequence[nn.Module], rates: Sequence[float], way: Way) -> Joint:
        """Networks of one shape with the weights that they have."""
        weights = torch.stack([_flat(network) for network in networks])
        each = torch.tensor(rates, dtype=torch.float64).to(weights.device)
        return cls(networks[0], weights, each[:, None], way)

    def paint(self, z: torch.Tensor) -> torch.Tensor:
        """Inputs (B, inputs, H', W') to outputs (B, C, H, W)."""
        # as parts of the one buffer, so that their gradients come back as one
        sizes = [weight.numel() for weight in self.template.parameters()]
        parts = torch.split(self.weights, sizes, 1)
        for (name, like), part in zip(self.template.named_parameters(), parts, strict=True):
            path, _, kind = name.rpartition(".")
            setattr(self.layers[path], kind, part.view(-1, *like.shape))
        painted: torch.Tensor = self.network(z)
        return painted

    @torch.no_grad()
    def _step(self, gradients: torch.Tensor) -> None:
        """Adam's, of each network from its own beginning."""
        self.steps += 1
        size = (self.rates / (1 - BETA1**self.steps)).float()  # (B, 1)
        wide = (1 - BETA2**self.steps).sqrt().float()  # (B, 1)
        self.first.lerp_(gradients, 1 - BETA1)
        self.second.mul_(BETA2).addcmul_(gradients, gradients, value=1 - BETA2)
        self.weights.addcdiv_(self.first * size, self.second.sqrt() / wide + EPSILON, value=-1)

    def improve(self, loss: torch.Tensor) -> None:
        """One step of every optimiser."""
        [gradients] = torch.autograd.grad(loss, self.weights)
        self._step(gradients)

    @torch.no_grad()
    def put(self, slot: int, begun: tuple[nn.Module, float]) -> None:
        """Begin anew in one slot."""
        network, rate = begun
        self.weights[slot].copy_(_flat(network))
        self.rates[slot] = rate
        for state in (self.first, self.second, self.steps):
            state[slot].zero_()

    def kept(self, slots: Sequence[int]) -> Joint:
        """These slots alone, in this order."""

        def chosen(whole: torch.Tensor) -> torch.Tensor:
            return torch.stack([whole[slot] for slot in slots])

        fewer = Joint(self.template, chosen(self.weights.detach()), chosen(self.rates), self.way)
        fewer.first, fewer.second = chosen(self.first), chosen(self.second)
        fewer.steps = chosen(self.steps)
        return fewer


def _flat(network: nn.Module) -> torch.Tensor:
    return torch.cat([weight.detach().reshape(-1) for weight in network.parameters()])


def joined_layers(module: nn.Module, way: Way, path: str = "") -> dict[str, nn.Module]:
    """Replace every layer below a module that has weights by its joint form.

    Returns
    -------
    The new layers by their path; their weights are the caller's to set before each use.
    """
    found: dict[str, nn.Module] = {}
    for name, child in module.named_children():
        own = f"{path}{name}"
        joint = _joint_form(child, way)
        if joint is None:
            found.update(joined_layers(child, way, f"{own}."))
        else:
            setattr(module, name, joint)
            found[own] = joint
    return found


def _joint_form(layer: nn.Module, way: Way) -> nn.Module | None:
    """The joint form of a layer; None of one without weights of its own."""
    match layer:
        case Convolution():
            return JointConvolution(layer, way)
        case Head():
            return JointHead(layer)
        case BatchNorm():
            return JointBatchNorm()
    return None


class JointConvolution(nn.Module):
    """`Convolution` of several networks; weight (B, outputs, inputs, size, size)."""

    weight: torch.Tensor

    def __init__(self, like: Convolution, way: Way) -> None:
        super().__init__()
        self.margin, self.stride = like.margin, like.stride[0]
        # what a stride skips a matrix product would compute for nothing
        self.products = way == "gemm" and self.stride == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) to (B, outputs, H/stride, W/stride)."""
        x = pad_reflect(x, self.margin)
        weight = self.weight.to(x.dtype)
        if self.products:
            painted: torch.Tensor = TapProducts.apply(x, weight)  # type: ignore[no-untyped-call]
            return painted
        b, outputs = weight.shape[:2]
        x = x.reshape(1, -1, *x.shape[-2:])  # (1, B inputs, H, W)
        x = F.conv2d(x, weight.flatten(0, 1), None, self.stride, groups=b)
        return x.view(b, outputs, *x.shape[-2:])


class TapProducts(torch.autograd.Function):
    """Convolution of each window by a kernel of its own: a batched matrix product for each tap.

    The rows of a window one after the other make one long row, in which every tap of the kernel is a shift:
    ``y[p] = sum_t W_t x[p + shift_t]`` for all pixels at once, without a copy of the window for each tap.
    What comes out at the end of each row, where the shift runs over into the next one, is cut off.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, x: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        """(B, inputs, H + s - 1, W + s - 1) and (B, outputs, inputs, s, s) to (B, outputs, H, W)."""
        ctx.save_for_backward(x, weight)
        b, outputs, _, size, _ = weight.shape
        height, wide = x.shape[-2] - size + 1, x.shape[-1]
        rows = x.reshape(b, x.shape[1], -1)  # (B, inputs, (H + s - 1)(W + s - 1))
        y = x.new_zeros((b, outputs, height, wide))
        n = height * wide - size + 1
        long = y.view(b, outputs, -1)[..., :n]
        for row, column, shift in _taps(size, wide):
            long.baddbmm_(weight[..., row, column], rows[..., shift : shift + n])
        return y if size == 1 else y[..., : wide - size + 1].contiguous()

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, gradient: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The adjoint, by the same shifts."""
        x, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        b, outputs, _, size, _ = weight.shape
        height, wide = x.shape[-2] - size + 1, x.shape[-1]
        rows = x.reshape(b, x.shape[1], -1)
        # nothing came out at the ends of rows: their gradient is 0
        given = F.pad(gradient, (0, size - 1)).reshape(b, outputs, -1)
        n = height * wide - size + 1
        given = given[..., :n]
        of_x, of_weight = torch.zeros_like(rows), torch.empty_like(weight)
        for row, column, shift in _taps(size, wide):
            if ctx.needs_input_grad[0]:  # type: ignore[attr-defined]  # not of the first layers
                tap = weight[..., row, column]  # (B, outputs, inputs)
                of_x[..., shift : shift + n].baddbmm_(tap.mT, given)
            of_weight[..., row, column] = given @ rows[..., shift : shift + n].mT
        return of_x.view_as(x), of_weight


def _taps(size: int, wide: int) -> Iterator[tuple[int, int, int]]:
    """Row, column and shift of each tap of a kernel, in rows that are `wide` pixels long."""
    for row in range(size):
        for column in range(size):
            yield row, column, row * wide + column


class JointHead(nn.Module):
    """`Head` of several networks; weight (B, outputs, inputs), bias (B, outputs)."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, like: Head) -> None:
        super().__init__()
        self.sigmoid = like.sigmoid

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) of any precision to (B, outputs, H, W) float32."""
        pixels = x.float().flatten(2)  # (B, inputs, H W)
        y = torch.baddbmm(self.bias[..., None], self.weight, pixels)
        y = y.view(*y.shape[:2], *x.shape[-2:])
        return torch.sigmoid(y) if self.sigmoid else y


class JointBatchNorm(nn.Module):
    """`BatchNorm` of several networks: each channel of each window by its own statistics.

    Weight and bias are (B, channels); without a bias where the layer that it stands for has none.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) to the same."""
        bias = None if self.bias is None else self.bias.flatten()
        channels = x.reshape(1, -1, *x.shape[-2:])  # (1, B channels, H, W)
        y = F.batch_norm(channels, None, None, self.weight.flatten(), bias, training=True)
        return y.view_as(x)
