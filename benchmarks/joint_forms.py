"""The forms that the networks of a stack could have together; benchmarks/gpu.py times them.

The product has two of them, `separate` and `grouped`. The others wait here until a GPU has decided.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from speed import DEFAULT_NETWORK
from torch import func
from torch.nn import functional as F

from glassplate.models.batching import grouped_networks
from glassplate.models.device.arithmetic import activation_dtype, applied
from glassplate.models.device.numerics import WAYS, Numerics
from glassplate.models.networks.layers import pad_reflect

Form = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

STACK_FORMS = (*WAYS, "gemm")
"""How the networks of a whole stack may work: as in the product, or convolving by matrix products (gemm)."""


@contextmanager
def stack_form(name: str) -> Iterator[None]:
    """Let grouped networks that are made and used here convolve by matrix products, if `name` is gemm."""
    usual = grouped_networks.GroupedConvolution
    if name == "gemm":
        grouped_networks.GroupedConvolution = ProductConvolution
    try:
        yield
    finally:
        grouped_networks.GroupedConvolution = usual


class ProductConvolution(grouped_networks.GroupedConvolution):
    """`GroupedConvolution` by `TapProducts`, except where a stride would skip most of the products."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H/stride, W/stride)."""
        if self.stride != 1:
            return super().forward(x)
        x = pad_reflect(x, self.margin)
        return TapProducts.apply(x, self.weight.to(x.dtype))


class TapProducts(torch.autograd.Function):
    """Convolution of each window by a kernel of its own: one batched matrix product for each tap.

    The rows of a window are laid end to end, so that every tap of the kernel is a shift:
    ``y[p] = sum_t W_t x[p + shift_t]`` for all pixels at once, without a copy of the window for each tap. The
    end of each row, where the shift runs over into the next one, is cut off.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, x: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        """Map (B, inputs, H + s - 1, W + s - 1) and (B, outputs, inputs, s, s) to (B, outputs, H, W)."""
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
        """Apply the adjoint, by the same shifts."""
        x, weight = ctx.saved_tensors
        b, outputs, _, size, _ = weight.shape
        height, wide = x.shape[-2] - size + 1, x.shape[-1]
        rows = x.reshape(b, x.shape[1], -1)
        # the ends of rows were cut off: their gradient is 0
        given = F.pad(gradient, (0, size - 1)).reshape(b, outputs, -1)
        n = height * wide - size + 1
        given = given[..., :n]
        of_x, of_weight = torch.zeros_like(rows), torch.empty_like(weight)
        for row, column, shift in _taps(size, wide):
            if ctx.needs_input_grad[0]:  # not of the first layers
                tap = weight[..., row, column]  # (B, outputs, inputs)
                of_x[..., shift : shift + n].baddbmm_(tap.mT, given)
            of_weight[..., row, column] = given @ rows[..., shift : shift + n].mT
        return of_x.view_as(x), of_weight


def _taps(size: int, wide: int) -> Iterator[tuple[int, int, int]]:
    """Row, column and shift of each tap of a kernel, in rows of `wide` pixels."""
    for row in range(size):
        for column in range(size):
            yield row, column, row * wide + column


def finish(device: str) -> None:
    """Wait for a GPU."""
    if device == "cuda":
        torch.cuda.synchronize()


@contextmanager
def working(numerics: Numerics, *, ordered: bool = True) -> Iterator[None]:
    """The settings of a fit; `ordered`: whether sums are to have a fixed order, as they have in every fit."""
    with applied(numerics):
        if not ordered:
            torch.use_deterministic_algorithms(False)  # until the end of the block
        yield


def timed(numerics: Numerics, widths: Sequence[int], side: int) -> list[dict[str, Any]]:
    """A 3x3 convolution with weights of its own for each window, forward and backward, in every form."""
    channels, device = DEFAULT_NETWORK.channels, numerics.device
    rows = []
    for width in widths:
        generator = torch.Generator(device).manual_seed(0)
        shapes = ((width, channels, side + 2, side + 2), (width, channels, channels, 3, 3))
        x, weight = (
            torch.randn(shape, generator=generator, device=device).to(activation_dtype(numerics))
            for shape in shapes
        )
        for name, form in FORMS.items():
            given = x.reshape(1, -1, side + 2, side + 2) if name.startswith("grouped") else x
            if name == "grouped, channels last":
                given = given.contiguous(memory_format=torch.channels_last)
            row = {"width": width, "form": name, "precision": numerics.precision}
            try:
                with working(numerics):
                    seconds = layer_seconds(form, given, weight, device)
                with working(numerics, ordered=False):
                    unordered = layer_seconds(form, given, weight, device)
            except RuntimeError as error:  # no kernel for it, or too little memory
                rows.append({**row, "error": str(error)})
                continue
            rows.append(
                {
                    **row,
                    "seconds": seconds,
                    "unordered_seconds": unordered,
                    # forward, and two gradients that take as much each
                    "flop_per_s": 3 * 2 * 9 * channels**2 * side**2 * width / seconds,
                }
            )
            times = f"{1e3 * seconds:9.3f} ms, {1e3 * unordered:9.3f} unordered"
            print(f"layer {width:3d} {name:23s} {times}", flush=True)
    return rows


def layer_seconds(form: Form, x: torch.Tensor, weight: torch.Tensor, device: str) -> float:
    """Median seconds of a form's work forward and backward; the first two times do not count."""
    x, weight = x.requires_grad_(), weight.requires_grad_()
    times = []
    for _ in range(7):
        finish(device)
        began = time.perf_counter()
        y = form(x, weight)
        torch.autograd.grad(y, (x, weight), y.detach())
        finish(device)
        times.append(time.perf_counter() - began)
    return statistics.median(times[2:])


def one_by_one(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(B, C, h, w) and (B, D, C, 3, 3) to (B, D, h - 2, w - 2), a convolution for each."""
    return torch.cat([F.conv2d(x[n : n + 1], weight[n]) for n in range(len(weight))])


def in_groups(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The same with the channels of all side by side: (1, B C, h, w) to (1, B D, h - 2, w - 2)."""
    return F.conv2d(x, weight.flatten(0, 1), groups=len(weight))


def mapped(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """As one by one, by torch.func."""
    return func.vmap(lambda one, own: F.conv2d(one[None], own)[0])(x, weight)


FORMS: dict[str, Form] = {
    "separate": one_by_one,
    "grouped": in_groups,
    "grouped, channels last": in_groups,
    "gemm": TapProducts.apply,
    "torch.func": mapped,
}
