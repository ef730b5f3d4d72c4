"""The one place where torch is told types, memory layout, threads and determinism of a fit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch

from glassplate.models.device.numerics import Device, Numerics

# cuBLAS needs this to sum in a fixed order; without it torch refuses matrix products in deterministic mode.
# It is read once, at the first product of a process, so it is set here.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def activation_dtype(numerics: Numerics) -> torch.dtype:
    """Torch type of the network's activations."""
    return torch.bfloat16 if numerics.precision == "bf16" else torch.float32


def activation_layout(numerics: Numerics) -> torch.memory_format:
    """Torch memory format of the network's activations and weights."""
    # grouped networks have their channels side by side
    grouped = numerics.together != "separate" and numerics.stack > 1
    last = numerics.memory_format == "channels_last" and not grouped
    return torch.channels_last if last else torch.contiguous_format


@contextmanager
def applied(numerics: Numerics) -> Iterator[None]:
    """Set threads, and on CUDA determinism and the precision of sums; restore the settings at the end."""
    threads = torch.get_num_threads()
    torch.set_num_threads(numerics.threads)
    try:
        # Torch's CPU kernels used here are deterministic anyway; the switch would only make torch fill
        # every fresh buffer.
        with _deterministic_cuda() if numerics.device == "cuda" else nullcontext():
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _deterministic_cuda() -> Iterator[None]:
    """Sum in a fixed order on CUDA, and in float32 with all its digits."""
    settings: tuple[tuple[Any, str, bool], ...] = (
        # convolutions in fp32 would have the 11 bits of TF32: of 60 000 counts 30
        (torch.backends.cudnn, "allow_tf32", False),
        # bf16 products would be summed in bf16 where they are split
        (torch.backends.cuda.matmul, "allow_bf16_reduced_precision_reduction", False),
        # determinism would fill every fresh buffer with NaN; here none is read before it is written
        (torch.utils.deterministic, "fill_uninitialized_memory", False),
    )
    before = [getattr(owner, name) for owner, name, _ in settings]
    deterministic = torch.are_deterministic_algorithms_enabled()
    for owner, name, value in settings:
        setattr(owner, name, value)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        for (owner, name, _), value in zip(settings, before, strict=True):
            setattr(owner, name, value)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error means too little memory of the device or the machine, by its type or its words."""
    words = (
        "ALLOC_FAILED",  # cuBLAS, cuFFT, cuSOLVER
        "unable to find an engine",  # cuDNN
        "can't allocate memory",  # torch for the CPU
        "can't start new thread",  # Python
    )
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)


def resolve(
    device: Device = "auto",
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
        precision = "bf16" if multiplies_bf16(device) else "fp32"
    # fp32 on a CPU without bf16: 0.31 s an iteration against 0.38 with channels_last (256x256, Zen 3)
    contiguous = device == "cpu" and precision == "fp32"
    return Numerics(device, precision, "contiguous" if contiguous else "channels_last", threads)


def multiplies_bf16(device: str) -> bool:
    """Whether bf16 convolutions run on native instructions; emulated ones are slower than fp32."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Older torch does not tell; fp32 is right everywhere, only slower.
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
