"""How many networks a device fits side by side, one for each tile, and the tiles of one unit of work."""

from __future__ import annotations

from dataclasses import replace

from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.planning.stacking.network_stacking_record import (
    ALONE,
    Stacking,
    recorded_stacking,
)
from glassplate.pipeline.recipes.recipe import Recipe

# Tiles of one unit of work where nothing is fitted. Copying a tile takes milliseconds and handing it to a
# worker about three, so that with a few dozen at once the pool itself costs some per cent.
COPIES_PER_BATCH = 32
# Stacks in one unit of work: when a fit ends another tile waits for its slot, and a run that is killed loses
# no more than these.
STACKS_PER_BATCH = 4
STACK_UNKNOWN = (
    "how many fits are best done at once on this GPU is not known, and one is; run `glassplate doctor` once "
    "to find out, or set tiles.stack and tiles.together"
)


def choose_stacking(plan: Plan, workers: int) -> Plan:
    """Stack a plan's fits as its recipe says, or as `glassplate doctor` found fastest on its device.

    Parameters
    ----------
    plan
        Of one fit at a time.
    workers
        Number of workers that share the tiles.
    """
    if not plan.fits:
        return with_stacking(plan, ALONE, workers)
    tiles, problem = plan.recipe.tiles, plan.problem
    best: Stacking | None = ALONE
    if problem.numerics.device == "cuda" and "auto" in (tiles.stack, tiles.together):
        best = recorded_stacking(problem)
    if best is None and tiles.stack == "auto":
        plan = replace(plan, warnings=(*plan.warnings, STACK_UNKNOWN))
    best = best or ALONE
    stacking = Stacking(
        best.stack if tiles.stack == "auto" else tiles.stack,
        best.together if tiles.together == "auto" else tiles.together,
    )
    return with_stacking(plan, stacking, workers)


def with_stacking(plan: Plan, stacking: Stacking, workers: int) -> Plan:
    """Give a plan a stacking and units of work; each worker gets one unit if there are enough tiles."""
    tiles = len(plan.grid)
    batch_size = min(_batch_size(plan.recipe, stacking.stack, -(-tiles // workers)), tiles)
    stack = min(stacking.stack, batch_size)
    stacking = replace(stacking, stack=stack) if stack > 1 else ALONE
    return replace(plan, numerics=stacking.of(plan.problem).numerics, batch_size=batch_size)


def _batch_size(recipe: Recipe, stack: int, share: int) -> int:
    """Tiles of one unit of work, where `share` tiles are a worker's part of the image."""
    if recipe.tiles.batch != "auto":
        return recipe.tiles.batch
    if not recipe.traits.fits:
        return COPIES_PER_BATCH
    return 1 if stack == 1 else min(STACKS_PER_BATCH * stack, share)
