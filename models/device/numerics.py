"""How the arithmetic of a fit is done, as a plan decides it and a manifest records it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

Device: TypeAlias = Literal["auto", "cpu", "cuda"]
"""Where fits are done; auto: on CUDA where there is one."""
Way: TypeAlias = Literal["separate", "grouped"]
"""How the networks of a stack work together."""
WAYS: tuple[Way, ...] = get_args(Way)


@dataclass(frozen=True)
class Numerics:
    """How the arithmetic of a fit is done.

    `precision` is that of the network's convolutions and activations only: weights, batch statistics,
    the last layer, the loss, the averages and the optimiser are float32 everywhere.
    """

    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["fp32", "bf16"] = "fp32"
    memory_format: Literal["contiguous", "channels_last"] = "channels_last"
    threads: int = 1
    """CPU threads of one fit. Sums depend on it in the last bit, so it is part of the plan."""
    stack: int = 1
    """Windows of one shape whose fits advance together."""
    together: Way = "separate"
    """How the networks of a stack work: separate, one after the other, each as it would alone; grouped, as
    one network of grouped convolutions. Other operations that the windows of a stack share may round
    differently in the last bit (docs/design/011-stack.md)."""
