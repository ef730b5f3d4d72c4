"""Megapixels an hour of each shipped recipe on this machine, from short trials.

The time is that of `glassplate plan` for a synthetic image, by the same code.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile

from glassplate.models.batching.iteration_time import seconds_per_iteration
from glassplate.models.device.numerics import Device, Way
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.memory import device_memory
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.planning.stacking.network_stacking import choose_stacking, with_stacking
from glassplate.pipeline.planning.stacking.network_stacking_record import record_stacking
from glassplate.pipeline.planning.timing.duration import (
    PlanTrials,
    TrialsByKey,
    image_seconds,
    time_plan,
    trial_key,
)
from glassplate.pipeline.planning.timing.iteration import Timer
from glassplate.pipeline.planning.timing.network_stacking_trials import (
    fastest_stacking,
    stackings_to_try,
)
from glassplate.pipeline.recipes.recipe import Recipe, load_recipe, recipe_names
from glassplate.pipeline.sources.source import SourceSpec

# Side of the image that the rates are for, pixels: so large that its tiles start from a donor, where the
# recipe has one, and that the donor's own fit is a small part of the time.
IMAGE_SIDE = 4096
# Side of the synthetic image, pixels: one of the windows from which noise is estimated.
MADE_SIDE = 128
# Quality of the JPEG for task deartifact.
JPEG_QUALITY = 85


@dataclass(frozen=True)
class RecipeRate:
    """Expected rate of one worker with a recipe on this machine, if no fit stops before its cap."""

    recipe: str
    megapixels_per_hour: float
    """Millions of input pixels an hour, of a grey image of `IMAGE_SIDE` by `IMAGE_SIDE`."""
    iterations: int
    """Cap on the iterations of a tile's fit, which starts from a donor where the recipe has one."""
    members: int
    """Fits for each tile."""
    donor_iterations: int
    """Iterations of the donor, once an image; 0 without a donor."""
    window: tuple[int, int]
    """Height and width of a tile with its halo, pixels of the input."""
    core: tuple[int, int]
    """Largest height and width of a tile without its halo."""
    seconds_per_iteration: float
    """Seconds of an iteration on one window, scaled from the trial by the pixels painted."""
    trial: tuple[int, int]
    """Height and width of the trial's window."""
    trial_seconds_per_iteration: float
    """Seconds of an iteration as the trial measured it."""
    stack: int
    """Fits side by side."""
    together: Way
    """How their networks are computed."""


def recipe_rates(
    device: Device = "auto", time_iteration: Timer = seconds_per_iteration
) -> list[RecipeRate]:
    """Time every shipped recipe that fits networks.

    Parameters
    ----------
    device
        ``auto`` takes a GPU where there is one.
    time_iteration
        Measures the time of an iteration.

    Returns
    -------
    list of RecipeRate
        In the order of the names.

    Raises
    ------
    UsageError
        If the device is absent.
    """
    tried: TrialsByKey = {}
    rates = []
    with tempfile.TemporaryDirectory(prefix="glassplate-rates-") as folder:
        inputs = make_inputs(Path(folder))
        for name in recipe_names():
            recipe = load_recipe(name)
            if not recipe.traits.fits:
                continue
            plan = _with_fastest_stacking(
                plan_of_large(inputs, recipe, name, device), time_iteration
            )
            key = trial_key(plan)
            if key not in tried:
                tried[key] = time_plan(plan, time_iteration)
            rates.append(_rate(plan, tried[key]))
    return rates


@dataclass(frozen=True)
class Inputs:
    """Files of a small synthetic image, and of every companion that a task may need."""

    image: Path
    jpeg: Path
    psf: Path
    hints: Path

    def spec_for(self, recipe: Recipe) -> SourceSpec:
        """The image and the companions that the recipe's task needs."""
        traits = recipe.traits
        return SourceSpec(
            self.jpeg if traits.from_jpeg else self.image,
            psf=self.psf if "psf" in traits.needs else None,
            guide=self.image if "guide" in traits.needs else None,
            hints=self.hints if "hints" in traits.needs else None,
        )


def make_inputs(folder: Path) -> Inputs:
    """Write an evenly structured 8-bit photograph with white noise, a PSF, and hints of one colour."""
    y, x = np.mgrid[:MADE_SIDE, :MADE_SIDE]  # (h, w)
    clean = 128 + 60 * np.sin(x / 9) * np.cos(y / 7)
    noise = np.random.default_rng(0).normal(0, 5, clean.shape)
    grey = (clean + noise).clip(0, 255).astype(np.uint8)
    hints = np.zeros((*grey.shape, 3), np.uint8)
    hints[::8, ::8] = (200, 60, 50)
    offset = np.arange(-4, 5)
    profile = np.exp(-(offset**2) / 4)
    inputs = Inputs(*(folder / name for name in ("image.tif", "image.jpg", "psf.tif", "hints.tif")))
    tifffile.imwrite(inputs.image, grey)
    inputs.jpeg.write_bytes(imagecodecs.jpeg8_encode(grey, level=JPEG_QUALITY))
    tifffile.imwrite(inputs.psf, np.outer(profile, profile).astype(np.float32))
    tifffile.imwrite(inputs.hints, hints, photometric="rgb")
    return inputs


def plan_of_large(inputs: Inputs, recipe: Recipe, name: str, device: Device) -> Plan:
    """Plan the small image, with the tiles of one of `IMAGE_SIDE` by `IMAGE_SIDE` pixels."""
    plan = make_plan(inputs.spec_for(recipe), recipe, recipe_name=name, device=device)
    shape = (plan.grid.shape[0], IMAGE_SIDE, IMAGE_SIDE)
    large = replace(
        plan,
        grid=replace(plan.grid, shape=shape),
        layout=replace(plan.layout, source_shape=shape, alpha=False),
    )
    # again, since there are more tiles now
    return choose_stacking(large, 1)


def _with_fastest_stacking(plan: Plan, time_iteration: Timer) -> Plan:
    """Try stackings, give the plan the fastest one, and record it for other plans."""
    if plan.recipe.tiles.stack != "auto":
        return plan
    problem, window_shape = plan.problem, plan.grid.window_shape
    room_bytes = min(device_memory(1), default=math.inf)
    stackings = stackings_to_try(problem, window_shape, room_bytes)
    if len(stackings) == 1:
        return plan
    best = fastest_stacking(problem, window_shape, stackings, time_iteration)
    record_stacking(problem, best)
    return with_stacking(plan, best, 1)


def _rate(plan: Plan, trials: PlanTrials) -> RecipeRate:
    """Rate of a whole image from its trials."""
    fit, trial = plan.tile_problem.fit, trials.tile
    _, height, width = plan.grid.window_shape
    _, rows, columns = plan.grid.shape
    core = -(-rows // plan.grid.y.count), -(-columns // plan.grid.x.count)
    return RecipeRate(
        recipe=plan.recipe_name,
        megapixels_per_hour=rows * columns / 1e6 * 3600 / image_seconds(plan, 1, trials),
        iterations=fit.iterations,
        members=fit.members,
        donor_iterations=plan.donor_iterations,
        window=(height, width),
        core=core,
        seconds_per_iteration=trial.seconds_on((height, width)),
        trial=trial.shape,
        trial_seconds_per_iteration=trial.seconds,
        stack=plan.numerics.stack,
        together=plan.numerics.together,
    )
