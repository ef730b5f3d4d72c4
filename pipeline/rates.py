"""Megapixels an hour to expect of each shipped recipe on this machine, from short trials.

A trial times a few iterations on a window as small as still tells; what a whole image takes is then said
by the function that `glassplate plan` uses, for a plan made as any other, of an image that is made up.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile

from glassplate.models.fit import FitSettings, Problem, seconds_per_iteration
from glassplate.models.stopping import StoppingSettings
from glassplate.pipeline.forecast import image_seconds
from glassplate.pipeline.plan import Plan
from glassplate.pipeline.planning import Device, make_plan
from glassplate.pipeline.recipe import Recipe, load_recipe, recipe_names
from glassplate.pipeline.source import SourceSpec
from glassplate.pipeline.tiles import TileGrid

# Side of the image that the rates are for, pixels: large enough that its tiles start from a donor, where
# the recipe has one, and that the donor's own time is a small part.
IMAGE_SIDE = 4096
# Side of the image that is made up and looked at, pixels: one window of what the noise is estimated from.
MADE_SIDE = 128
# Side of the first trial's window, pixels of the estimate; doubled until an iteration takes LEAST_TRIAL_S,
# so that what an iteration costs whatever its window is a small part, or until it is the whole window, as
# on a GPU (docs/design/012-doctor.md).
FIRST_TRIAL = 64
LEAST_TRIAL_S = 0.035
# Of so many trials on each window the shortest counts: what another program took is not the machine's rate.
TRIALS = 2
# Quality of the JPEG for task deartifact.
JPEG_QUALITY = 85

Timer = Callable[[Problem, tuple[int, int, int]], float]
"""Seconds of one iteration of a problem on a window of ``(c, h, w)`` pixels."""


@dataclass(frozen=True)
class RecipeRate:
    """What to expect of a recipe on this machine, of one worker, if no fit stops before its cap."""

    recipe: str
    megapixels_per_hour: float
    """Pixels of the input, millions, of a grey image of `IMAGE_SIDE` by `IMAGE_SIDE`."""
    iterations: int
    """Cap on the iterations of a tile's fit; of one that starts from a donor where there is one."""
    members: int
    """Fits for each tile."""
    donor_iterations: int
    """Iterations of the donor, once an image; 0 where there is none."""
    window: tuple[int, int]
    """Height and width of a tile with its halo, pixels of the input: what is fitted."""
    core: tuple[int, int]
    """Largest height and width of the tile without it: what is kept."""
    seconds_per_iteration: float
    """Of one window, from the trial's in proportion to the pixels."""
    trial: tuple[int, int]
    """Height and width of the trial's window."""
    trial_seconds_per_iteration: float
    """As it was measured, the least of `TRIALS`."""


def recipe_rates(
    device: Device = "auto", time_iteration: Timer = seconds_per_iteration
) -> list[RecipeRate]:
    """Try every shipped recipe that fits something.

    Parameters
    ----------
    device
        ``auto`` takes CUDA where there is one.
    time_iteration
        Measures an iteration.

    Returns
    -------
    list of RecipeRate
        In the order of the names.

    Raises
    ------
    UsageError
        If the device is absent.
    """
    tried: dict[tuple[Problem, tuple[int, int, int]], _Trial] = {}
    rates = []
    with tempfile.TemporaryDirectory(prefix="glassplate-rates-") as folder:
        inputs = make_inputs(Path(folder))
        for name in recipe_names():
            recipe = load_recipe(name)
            if recipe.task == "identity":
                continue
            plan = plan_of_large(inputs, recipe, name, device)
            # recipes that differ in how long they fit, and what they do afterwards, share a trial
            alike = as_timed(plan.tile_problem), plan.grid.window_shape
            if alike not in tried:
                tried[alike] = _try(*alike, time_iteration)
            rates.append(_rate(plan, tried[alike]))
    return rates


@dataclass(frozen=True)
class Inputs:
    """Files of a small image that is made up, and of all that a task may want beside it."""

    image: Path
    jpeg: Path
    psf: Path
    hints: Path

    def spec_for(self, recipe: Recipe) -> SourceSpec:
        """The image as the recipe's task takes it."""
        task = recipe.task
        return SourceSpec(
            self.jpeg if task == "deartifact" else self.image,
            psf=self.psf if task == "deconvolve" else None,
            guide=self.image if task == "guided" else None,
            hints=self.hints if task == "colorize" else None,
        )


def make_inputs(folder: Path) -> Inputs:
    """Write an evenly structured photograph of 8 bits with white noise, a PSF, and hints of one colour."""
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
    """The plan of a small image, with the tiles of one of `IMAGE_SIDE` by `IMAGE_SIDE` pixels."""
    plan = make_plan(inputs.spec_for(recipe), recipe, recipe_name=name, device=device)
    shape = (plan.grid.shape[0], IMAGE_SIDE, IMAGE_SIDE)
    return replace(
        plan,
        grid=TileGrid(shape, plan.grid.joint, plan.grid.core, plan.grid.halo),
        layout=replace(plan.layout, source_shape=shape),
    )


def as_timed(problem: Problem) -> Problem:
    """The problem without what changes no iteration's time: how many, when to stop, what follows."""
    fit, usual = problem.fit, FitSettings()
    return replace(
        problem,
        stopping=StoppingSettings(rule="fixed"),
        fit=replace(
            fit,
            iterations=usual.iterations,
            learning_rate=usual.learning_rate,
            average=usual.average,
            log_period=usual.log_period,
            members=1,
            posterior=False,
            posterior_radius=usual.posterior_radius,
            posterior_doubt=usual.posterior_doubt,
            collaborative=False,
            guard=None,
            uncertainty=False,
        ),
    )


@dataclass(frozen=True)
class _Trial:
    """What was timed."""

    shape: tuple[int, int]
    seconds: float
    """Of one iteration."""


def _try(problem: Problem, window_shape: tuple[int, int, int], time_iteration: Timer) -> _Trial:
    """Time an iteration on ever larger windows, until it takes long enough to tell."""
    channels, height, width = window_shape
    side = max(1, FIRST_TRIAL // problem.operator.scale)
    while True:
        shape = min(side, height), min(side, width)
        seconds = min(time_iteration(problem, (channels, *shape)) for _ in range(TRIALS))
        if seconds >= LEAST_TRIAL_S or shape == (height, width):
            return _Trial(shape, seconds)
        side *= 2


def _rate(plan: Plan, trial: _Trial) -> RecipeRate:
    """What a trial says of a whole image."""
    _, *sides = plan.grid.window_shape
    height, width = sides
    step_s = trial.seconds * (height * width) / (trial.shape[0] * trial.shape[1])
    seconds = image_seconds(plan, 1, step_s)
    fit = plan.tile_problem.fit
    _, rows, columns = plan.grid.shape
    core = -(-rows // plan.grid.y.count), -(-columns // plan.grid.x.count)
    return RecipeRate(
        recipe=plan.recipe_name,
        megapixels_per_hour=rows * columns / 1e6 * 3600 / seconds,
        iterations=fit.iterations,
        members=fit.members,
        donor_iterations=plan.donor_iterations,
        window=(height, width),
        core=core,
        seconds_per_iteration=step_s,
        trial=trial.shape,
        trial_seconds_per_iteration=trial.seconds,
    )
