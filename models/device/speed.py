"""What a device does at most: bytes copied and numbers multiplied in a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from glassplate.models.device.numerics import Numerics

# What is copied at once: with its copy five times the largest cache of a GPU (50 MB), more than the cache
# that a core of a server has to itself.
COPY_BYTES = 128 << 20
# Time that one measurement must take to mean something: a thousand times what starting a kernel or reading
# the clock costs. Work is doubled until it takes that long, so that no device's speed is built in.
LEAST_S = 0.02
# Of so many measurements the shortest counts: what another program took of the device is not its rate.
REPEATS = 3
# Sides of the matrices: the first takes milliseconds where bf16 is emulated one number at a time, the last
# 3 GiB for three in fp32.
FIRST_SIDE, LAST_SIDE = 128, 16384
# Copies in a row, at most: 256 GiB read and written, more than any device does within LEAST_S.
MOST_COPIES = 1024

Work = Callable[[], object]


@dataclass(frozen=True)
class DeviceRates:
    """Rates of a device, each the best of `REPEATS` measurements."""

    device: Literal["cpu", "cuda"]
    threads: int
    """CPU threads that they were measured with: those of one fit."""
    copy_bytes_per_s: float
    """Bytes read and bytes written together, of a tensor copied on the device."""
    fp32_flop_per_s: float
    """Of a product of two square matrices, two operations for each of its side^3 multiplications."""
    bf16_flop_per_s: float
    """The same in bf16; where the processor only emulates it, slower than fp32."""
    fp32_side: int
    """Side of the matrices."""
    bf16_side: int


def measure_device(numerics: Numerics) -> DeviceRates:
    """Measure a device as a fit finds it, with its threads and its determinism.

    Parameters
    ----------
    numerics
        Those of a fit; both precisions are measured, whichever it takes.

    Returns
    -------
    DeviceRates
        After one or two seconds, or a few where other programs want the device.

    Raises
    ------
    RuntimeError
        If the device has no room for the tensors, 3 GiB at most on a GPU, some 0.3 GiB on a CPU.
    """
    device = numerics.device
    with numerics.applied():
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
    """Double the work's size until it takes `LEAST_S`, or is the last.

    Returns
    -------
    size, seconds
        The size that took long enough, and the least time that it took.
    """
    size = first
    while True:
        seconds = _least_seconds(prepare(size), device)
        if seconds >= LEAST_S or size >= last:
            return size, seconds
        size *= 2


def _least_seconds(work: Work, device: str) -> float:
    """Least time of several, after one that is not counted: it allocates and chooses kernels."""
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
    """Wait until a GPU has done what it was given; a CPU always has."""
    if device == "cuda":
        torch.cuda.synchronize()


def _copies(device: str, count: int) -> Work:
    """Copies in a row of one tensor on the device."""
    # ones, not zeros: a CPU's fresh zeros are one page of memory, mapped again and again
    source = torch.ones(COPY_BYTES // 4, device=device)  # float32
    target = torch.empty_like(source)

    def copy() -> None:
        for _ in range(count):
            target.copy_(source)

    return copy


def _product(device: str, dtype: torch.dtype, side: int) -> Work:
    """A product of two square matrices of random numbers: of equal ones a GPU takes less power."""
    dice = torch.Generator(device).manual_seed(0)
    left, right = (
        torch.rand((side, side), dtype=dtype, device=device, generator=dice) for _ in range(2)
    )
    return partial(torch.mm, left, right, out=torch.empty_like(left))
