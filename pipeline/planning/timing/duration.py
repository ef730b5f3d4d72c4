"""Time that a plan will take, from short trials on this machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from glassplate.models.batching.iteration_time import seconds_per_iteration
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.planning.timing.iteration import Timer, Trial, time_window, timed_problem
from glassplate.pipeline.sources.sample_windows import sample_boxes

# Seconds of every run before its first tile, and those until the workers of a local pool are ready. Measured
# with identity on a photograph of 768x512: 5.2 s in this process, 12.7 s with two workers (2 cores, AMD EPYC
# Zen 3).
START_S, WORKERS_S = 4.5, 7.5
# Seconds of a CPU core that filtering similar blocks takes for each sample of a window: 0.8 s for 3x320x320,
# and half of that for each coarser pass before it. On a GPU it is a small part of a fit, and is neglected.
FILTER_S_PER_SAMPLE = 2.6e-6
# Time of an iteration in which the network only predicts, over that of one in which it learns (0.033 s and
# 0.092 s for 3x320x320).
PREDICTION = 0.36
# Time of a step in which a network learns to double a window, from half of it, over that of doubling the
# window in all orientations (0.0093 s and 0.38 s, of which 0.12 for 3x128x128, for 3x224x224).
LEARNING_TO_DOUBLE = 0.09
# Time of a donor's step on two windows in two processes, over that of two steps (0.028 s and 0.053 s for
# 3x128x128, Intel Sapphire Rapids, bf16).
SIDE_BY_SIDE = 0.53
# Bytes per second at which one worker reads, blends, compresses and writes (benchmarks/pipeline.py).
COPY_BYTES_PER_S = 40e6


@dataclass(frozen=True)
class PlanTrials:
    """Iterations that were timed for a plan."""

    tile: Trial
    """An iteration of a tile's fit, side by side with the others of its stack."""
    donor: Trial
    """An iteration of the donor's fit, which is never stacked; the same as `tile` without stacks."""


TrialKey: TypeAlias = tuple[object, ...]
TrialsByKey: TypeAlias = dict[TrialKey, PlanTrials]
"""Trials of plans by `trial_key`."""


def projected_seconds(
    plan: Plan,
    workers: int,
    time_iteration: Timer = seconds_per_iteration,
    tried: TrialsByKey | None = None,
) -> float:
    """Time that a plan is expected to take, in seconds, by trials on this machine.

    Parameters
    ----------
    plan
        Of any task.
    workers
        Fits that run at once.
    time_iteration
        Measures the time of an iteration.
    tried
        Trials of other plans, which are not repeated; those of this plan are added.
    """
    if not plan.fits:
        return image_seconds(plan, workers, None)
    tried, key = {} if tried is None else tried, trial_key(plan)
    if key not in tried:
        tried[key] = time_plan(plan, time_iteration)
    return image_seconds(plan, workers, tried[key])


def trial_key(plan: Plan) -> TrialKey:
    """Key that is equal for plans whose trials would be the same."""
    problem = timed_problem(plan.tile_problem)
    # of the noise and the brightness of the pixels, nothing but the correlation changes the time
    return (
        problem.network,
        problem.fit,
        problem.operator,
        problem.noise.correlated,
        problem.numerics,
        problem.guide_channels,
        problem.quantisation,
        plan.grid.window_shape,
        donor_fits_apart(plan),
    )


def time_plan(plan: Plan, time_iteration: Timer = seconds_per_iteration) -> PlanTrials:
    """Time an iteration of a tile's fit, and of the donor's where it differs.

    Parameters
    ----------
    plan
        Of a task that fits networks.
    time_iteration
        Measures the time of an iteration.
    """
    problem, window_shape = plan.tile_problem, plan.grid.window_shape
    tile = time_window(problem, window_shape, time_iteration)
    if not donor_fits_apart(plan):
        return PlanTrials(tile, tile)
    alone = replace(problem, numerics=replace(problem.numerics, stack=1))
    donor_shape = (window_shape[0], *_donor_window(plan))
    return PlanTrials(tile, time_window(alone, donor_shape, time_iteration))


def donor_fits_apart(plan: Plan) -> bool:
    """Whether a donor is fitted by itself and tiles are fitted in stacks."""
    return plan.donor_iterations > 0 and plan.numerics.stack > 1


def image_seconds(plan: Plan, workers: int, trials: PlanTrials | None) -> float:
    """Add up the time of an image: the start, the donor, every fit to its cap and its filter, the copying.

    Parameters
    ----------
    plan
        Of any task.
    workers
        Fits that run at once.
    trials
        Of this plan, or of one whose trials would be the same; None where nothing is fitted.
    """
    copying = plan.layout.uncompressed_bytes / COPY_BYTES_PER_S / workers
    starting = START_S + (WORKERS_S if min(workers, len(plan.batches)) > 1 else 0)
    if trials is None:
        return starting + copying
    fit = plan.tile_problem.fit
    _, height, width = plan.grid.window_shape
    tile, donor_step = (
        trials.tile.seconds_on((height, width)),
        trials.donor.seconds_on(_donor_window(plan)),
    )
    steps = fit.iterations - (1 - PREDICTION) * fit.predictions
    if plan.problem.input == "cross-scale":
        steps, donor_step = 1, donor_step * LEARNING_TO_DOUBLE / _doubled_area(plan.operator.scale)
    tiles = busiest_share(plan.batches, workers) * (
        steps * fit.members * tile + _filter_seconds(plan)
    )
    if plan.donor_windows_a_step > 1 and workers > 1 and plan.numerics.device == "cpu":
        donor_step *= SIDE_BY_SIDE
    return starting + plan.donor_iterations * donor_step + tiles + copying


def _doubled_area(scale: int) -> int:
    """Pixels that are doubled until an image has `scale` times its size, over those of the image."""
    return sum(4**doubling for doubling in range((scale - 1).bit_length()))


def _filter_seconds(plan: Plan) -> float:
    """Seconds that filtering similar blocks takes after a fit."""
    problem = plan.tile_problem
    filters = problem.fit.collaborative and not problem.operator.mixes
    on_cpu = problem.numerics.device == "cpu"
    each = FILTER_S_PER_SAMPLE * math.prod(plan.grid.window_shape)
    return each * (1 + problem.fit.filter_passes) / 2 * (filters and on_cpu)


def busiest_share(batches: Sequence[range], workers: int) -> int:
    """Tiles of the busiest worker, if workers take batches in turn."""
    return max(sum(map(len, batches[worker::workers])) for worker in range(workers))


def _donor_window(plan: Plan) -> tuple[int, int]:
    """Height and width of a window that the donor is fitted to."""
    return sample_boxes(plan.grid.shape)[0].shape
