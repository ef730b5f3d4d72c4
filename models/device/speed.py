"""The highest rates of a device: bytes copied and numbers multiplied in a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from glassplate.models.device.arithmetic import applied
from glassplate.models.device.numerics import Numerics

# Size of the copied tensor. With its copy it is five times the largest cache of a GPU (50 MB), and more than
# a server core's own cache.
COPY_BYTES = 128 << 20
# Shortest time of one measurement: a thousand times that of starting a kernel or reading the clock. Work is
# doubled until it takes that long, so that no device's speed is built in.
LEAST_S = 0.02
# The shortest of so many measurements counts, because other programs may use the device meanwhile.
REPEATS = 3
# Sides of the matrices. The first takes milliseconds where bf16 is emulated one number at a time; three of
# the last take 3 GiB in fp32.
FIRST_SIDE, LAST_SIDE = 128, 16384
# Most copies in a row: 256 GiB read and written, more than any device does within LEAST_S.
MOST_COPIES = 1024

Work = Callable[[], object]


@dataclass(frozen=True)
class DeviceRates:
    """Rates of a device, each the best of `REPEATS` measurements."""

    device: Literal["cpu", "cuda"]
    threads: int
    """CPU threads of the measurement: those of one fit."""
    copy_bytes_per_s: float
    """Bytes read and bytes written together, of a tensor copied on the device."""
    fp32_flop_per_s: float
    """Of a product of two square matrices, two operations for each of its side^3 multiplications."""
    bf16_flop_per_s: float
    """The same in bf16; slower than fp32 if the processor only emulates it."""
    fp32_side: int
    """Side of the matrices."""
    bf16_side: int


def measure_device(numerics: Numerics) -> DeviceRates:
    """Measure a device with the threads and the determinism of a fit.

    Parameters
    ----------
    numerics
        Those of a fit. Both precisions are measured, whichever the fit uses.

    Returns
    -------
    DeviceRates
        After one or two seconds, or a few more if other programs use the device.

    Raises
    ------
    RuntimeError
        If the device has too little memory for the tensors, at most 3 GiB on a GPU, some 0.3 GiB on a CPU.
    """
    device = numerics.device
    with applied(numerics):
        copies, copying_s = _grown(partial(_copies, device), 1, MOST_COPIES, device)
        fp32, fp32_s = _grown(
            partial(_product, device, torch.float32), FIRST_SIDE, LAST_SIDE, device
        )
        bf16, bf16_s = _grown(
            partial(_product, device, torch.bfloat16), FIRST_SIDE, LAST_SIDE, device
        )
    return DeviceRates(
        device=device,
        threads=numerics.threads,
        copy_bytes_per_s=2 * COPY_BYTES * copies / copying_s,
        fp32_flop_per_s=2 * fp32**3 / fp32_s,
        bf16_flop_per_s=2 * bf16**3 / bf16_s,
        fp32_side=fp32,
        bf16_side=bf16,
    )


def _grown(prepare: Callable[[int], Work], first: int, last: int, device: str) -> tuple[int, float]:
    """Double the size of the work until it takes `LEAST_S` or the size is `last`.

    Returns
    -------
    size, seconds
        The size that took long enough, and its shortest time.
    """
    size = first
    while True:
        seconds = _least_seconds(prepare(size), device)
        if seconds >= LEAST_S or size >= last:
            return size, seconds
        size *= 2


def _least_seconds(work: Work, device: str) -> float:
    """Shortest of several times. The first run allocates and chooses kernels; it is not counted."""
    work()
    times = []
    for _ in range(REPEATS):
        _finish(device)
        start = time.perf_counter()
        work()
        _finish(device)
        times.append(time.perf_counter() - start)
    return min(times)


def _finish(device: str) -> None:
    """Wait until a GPU has done its work; a CPU always has."""
    if device == "cuda":
        torch.cuda.synchronize()


def _copies(device: str, count: int) -> Work:
    """Copies in a row of one tensor on the device."""
    # ones, not zeros: fresh zeros on a CPU are one page of memory, mapped many times
    source = torch.ones(COPY_BYTES // 4, device=device)  # float32
    target = torch.empty_like(source)

    def copy() -> None:
        for _ in range(count):
            target.copy_(source)

    return copy


def _product(device: str, dtype: torch.dtype, side: int) -> Work:
    """A product of two square matrices of random numbers; for equal numbers a GPU would use less power."""
    generator = torch.Generator(device).manual_seed(0)
    left, right = (
        torch.rand((side, side), dtype=dtype, device=device, generator=generator) for _ in range(2)
    )
    return partial(torch.mm, left, right, out=torch.empty_like(left))
