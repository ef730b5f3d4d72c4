"""The one place for device, precision, memory layout, threads and determinism."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch


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
    together: Literal["separate", "grouped", "gemm"] = "separate"
    """How the networks of a stack work: separate, one after the other, each as it would alone; grouped, as
    one network of grouped convolutions; gemm, as one of batched matrix products. What else windows of a
    stack share may round otherwise in the last bit (docs/design/011-stack.md)."""

    @property
    def dtype(self) -> torch.dtype:
        """Torch type of the network's activations."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    @property
    def layout(self) -> torch.memory_format:
        """Torch memory format of the network's activations and weights."""
        # networks that work as one have their channels side by side
        last = self.memory_format == "channels_last" and self.together == "separate"
        return torch.channels_last if last else torch.contiguous_format

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Set threads and determinism for the duration, and put back what was there."""
        threads = torch.get_num_threads()
        deterministic = torch.are_deterministic_algorithms_enabled()
        torch.set_num_threads(self.threads)
        # Torch's CPU kernels used here are deterministic as they are; the switch would only make it
        # fill every fresh buffer.
        if self.device == "cuda":
            # of the two that cuBLAS may be given for products with a fixed order of sums, the larger one
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(deterministic)


def resolve(
    device: Literal["auto", "cpu", "cuda"] = "auto",
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    threads: int = 1,
) -> Numerics:
    """Choose the numerics for this machine.

    Parameters
    ----------
    device
        ``auto`` takes CUDA where there is one.
    precision
        ``auto`` takes bf16 where the processor multiplies it natively, else fp32.
    threads
        CPU threads of one fit.

    Raises
    ------
    ValueError
        If CUDA is asked for and absent, or `threads` is below 1.
    """
    if threads < 1:
        raise ValueError(f"threads is {threads}, must be at least 1")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda: torch finds no CUDA device here; use --device cpu")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if precision == "auto":
        precision = "bf16" if _multiplies_bf16(device) else "fp32"
    # fp32 on a CPU without bf16: 0.31 s an iteration against 0.38 with channels_last (256x256, Zen 3)
    contiguous = device == "cpu" and precision == "fp32"
    return Numerics(device, precision, "contiguous" if contiguous else "channels_last", threads)


def _multiplies_bf16(device: str) -> bool:
    """Whether bf16 convolutions run on native instructions; emulated ones are slower than fp32."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Older torch does not tell; fp32 is right everywhere, only slower.
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
