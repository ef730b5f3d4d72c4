"""What a plan will take: tiles, memory, disk, time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from glassplate.models.fit.loop import seconds_per_iteration
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.planning.timing.iteration import Timer, Trial, time_window
from glassplate.pipeline.sources.sample_windows import sample_boxes

# Seconds that every run takes before its first tile, and those until the workers of a local pool are there.
# With identity on a photograph of 768x512: 6.2 s in this process, 13.7 s with two workers (2 cores, AMD EPYC
# Zen 3).
START_S, WORKERS_S = 5.5, 7.5
# Seconds that the first fit of a process takes beyond those of the next (the same machine).
FIRST_FIT_S = 2.5
# Seconds of a CPU core that filtering similar blocks takes for each sample of a window: 2.5 s for 3x288x288
# and 2.2 s for 3x256x256. On a GPU it is a small part of a fit and is left out.
FILTER_S_PER_SAMPLE = 1.1e-5
# Bytes per second at which one worker reads, blends, compresses and writes (benchmarks/pipeline.py).
COPY_BYTES_PER_S = 40e6


@dataclass(frozen=True)
class Trials:
    """What was timed for a plan."""

    tile: Trial
    """Of a tile's fit, beside the others of its stack."""
    donor: Trial
    """Of the donor's, which is always alone; the tile's where that is, too."""


def projected_seconds(
    plan: Plan, workers: int, time_iteration: Timer = seconds_per_iteration
) -> float:
    """Time to expect for a plan, by short trials on this machine.

    Parameters
    ----------
    plan
        What would be done.
    workers
        Fits that run at once.
    time_iteration
        Measures an iteration.
    """
    trials = time_plan(plan, time_iteration) if plan.recipe.traits.fits else None
    return image_seconds(plan, workers, trials)


def time_plan(plan: Plan, time_iteration: Timer = seconds_per_iteration) -> Trials:
    """Time an iteration of a tile's fit, and one of the donor's where that is another.

    Parameters
    ----------
    plan
        Of a task that fits something.
    time_iteration
        Measures an iteration.
    """
    problem, window_shape = plan.tile_problem, plan.grid.window_shape
    tile = time_window(problem, window_shape, time_iteration)
    if not donor_fits_apart(plan):
        return Trials(tile, tile)
    alone = replace(problem, numerics=replace(problem.numerics, stack=1))
    donor_shape = (window_shape[0], *_donor_window(plan))
    return Trials(tile, time_window(alone, donor_shape, time_iteration))


def donor_fits_apart(plan: Plan) -> bool:
    """Whether there is a donor to be fitted, alone, for tiles that are fitted in stacks."""
    return plan.donor_iterations > 0 and plan.numerics.stack > 1


def image_seconds(plan: Plan, workers: int, trials: Trials | None) -> float:
    """Time to expect: the start, the donor, every fit to its cap and what follows it, and the copying.

    Parameters
    ----------
    plan
        What would be done.
    workers
        Fits that run at once.
    trials
        What was timed for the plan, or for one that `time_plan` would time alike; None where nothing is
        fitted.
    """
    copying = plan.layout.uncompressed_bytes / COPY_BYTES_PER_S / workers
    starting = START_S + (WORKERS_S if min(workers, len(plan.batches)) > 1 else 0)
    if trials is None:
        return starting + copying
    fit = plan.tile_problem.fit
    _, height, width = plan.grid.window_shape
    each = fit.iterations * fit.members * trials.tile.seconds_on((height, width))
    tiles = busiest_share(plan.batches, workers) * (each + _filter_seconds(plan))
    donor = plan.donor_iterations * trials.donor.seconds_on(_donor_window(plan))
    return starting + FIRST_FIT_S + donor + tiles + copying


def _filter_seconds(plan: Plan) -> float:
    """Time that filtering similar blocks takes after a fit."""
    problem = plan.tile_problem
    filters = problem.fit.collaborative and not problem.operator.mixes
    on_cpu = problem.numerics.device == "cpu"
    return FILTER_S_PER_SAMPLE * math.prod(plan.grid.window_shape) * (filters and on_cpu)


def busiest_share(batches: Sequence[range], workers: int) -> int:
    """Tiles of the worker with the most to do, where each takes the next batch when its own is done."""
    return max(sum(map(len, batches[worker::workers])) for worker in range(workers))


def _donor_window(plan: Plan) -> tuple[int, int]:
    """Height and width of each of the windows that the donor is fitted to."""
    return sample_boxes(plan.grid.shape)[0].shape
