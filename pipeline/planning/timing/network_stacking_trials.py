"""Which stacking is fastest on this device, by trials: `glassplate doctor` runs them, plans do not.

The fastest one depends on the device and the network, and only a trial tells (docs/design/011-stack.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from glassplate.models.batching.iteration_time import seconds_per_iteration
from glassplate.models.device.numerics import WAYS
from glassplate.models.fit.memory import projected_bytes
from glassplate.models.fit.problem import Problem
from glassplate.pipeline.planning.stacking.network_stacking import STACKS_PER_BATCH
from glassplate.pipeline.planning.stacking.network_stacking_record import ALONE, Stacking
from glassplate.pipeline.planning.timing.iteration import TRIALS, Timer, WindowShape, timed_problem
from glassplate.pipeline.planning.windows_in_memory import most_at_hand

# Fits side by side that are tried. On a CPU several gain nothing (docs/design/011-stack.md). On a GPU: by
# computation 32 windows of 320x320 keep each kernel of the default network at work for many times as long as
# it takes to start, in 6 GB.
WIDTHS = {"cpu": (1,), "cuda": (1, 8, 32)}


def stackings_to_try(
    problem: Problem, window_shape: WindowShape, room_bytes: float
) -> list[Stacking]:
    """Every stacking of the problem's device whose projected memory is within `room_bytes`."""
    found = [
        Stacking(width, way)
        for width in WIDTHS[problem.numerics.device]
        for way in (WAYS if width > 1 else WAYS[:1])
    ]

    def fits(stacking: Stacking) -> bool:
        windows = most_at_hand(stacking.stack, STACKS_PER_BATCH * stacking.stack)
        return projected_bytes(stacking.of(problem), window_shape, windows) <= room_bytes

    return [stacking for stacking in found if stacking == ALONE or fits(stacking)]


def fastest_stacking(
    problem: Problem,
    window_shape: WindowShape,
    stackings: Sequence[Stacking],
    time_iteration: Timer = seconds_per_iteration,
) -> Stacking:
    """Try stackings and return the one in which an iteration of one fit takes the least time.

    Parameters
    ----------
    problem, window_shape
        What is fitted; the shape is ``(c, h, w)``, pixels of the measurement.
    stackings
        At least one.
    time_iteration
        Measures the time of an iteration, divided by the number of fits side by side.

    Raises
    ------
    RuntimeError
        If the device can run none of them.
    """
    problem = timed_problem(problem)
    seconds: dict[Stacking, float] = {}
    refused: RuntimeError | None = None
    for stacking in stackings:
        try:
            times = [time_iteration(stacking.of(problem), window_shape) for _ in range(TRIALS)]
        except RuntimeError as error:  # the device has no kernel for it, or too little memory
            # without its traceback, whose frames hold memory of the device
            refused = error.with_traceback(None)
            torch.cuda.empty_cache()
            continue
        seconds[stacking] = min(times)
    if not seconds and refused is not None:
        raise refused
    return min(seconds, key=lambda stacking: seconds[stacking])
