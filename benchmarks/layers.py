"""One layer of a stack in every form that it could have; benchmarks/gpu.py times them."""

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

from glassplate.models.batching.joint import TapProducts
from glassplate.models.device.numerics import Numerics

Form = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def finish(device: str) -> None:
    """Wait for a GPU."""
    if device == "cuda":
        torch.cuda.synchronize()


@contextmanager
def working(numerics: Numerics, *, ordered: bool = True) -> Iterator[None]:
    """The settings of a fit; `ordered`: whether sums are to have a fixed order, as they have in every fit."""
    with numerics.applied():
        if not ordered:
            torch.use_deterministic_algorithms(False)  # until the end of the block
        yield


def timed(numerics: Numerics, widths: Sequence[int], side: int) -> list[dict[str, Any]]:
    """A 3x3 convolution with weights of its own for each window, forward and backward, in every form."""
    channels, device = DEFAULT_NETWORK.channels, numerics.device
    rows = []
    for width in widths:
        dice = torch.Generator(device).manual_seed(0)
        shapes = ((width, channels, side + 2, side + 2), (width, channels, channels, 3, 3))
        x, weight = (
            torch.randn(shape, generator=dice, device=device).to(numerics.dtype) for shape in shapes
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
