"""Short fits of single windows, by the noise and the scaling of the whole image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from glassplate.models.batching.fit_each import fit_batch
from glassplate.models.device.arithmetic import resolve
from glassplate.pipeline.cached_source import cached_source
from glassplate.pipeline.errors import GlassplateError
from glassplate.pipeline.export.strength import Removed
from glassplate.pipeline.pages.shown_result import FloatArray
from glassplate.pipeline.pages.trial.windows import TrialWindow
from glassplate.pipeline.planning.first_look import BLOCKS_ALONE, FirstLook
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.pools.pool import OnProgress
from glassplate.pipeline.recipes.recipe import Recipe, load_recipe
from glassplate.pipeline.tiles.finish import finish
from glassplate.pipeline.tiles.plausible import implausible
from glassplate.pipeline.tiles.seeds import tile_seed

# Half of what recipe draft has: a fit takes seconds, and noise is seen to go.
ITERATIONS = 150
# Sections of a recipe that decide how windows are fitted, and not what is read from the image.
OF_FITS = ("tiles", "network", "fit", "donor", "stopping")
# Pixels around a window that are fitted too; more would cost more than the border gains.
HALO = 8

# Relative error of a float32, and of the sum of a few.
ROUNDING = 1e-6


@dataclass(frozen=True)
class TrialFit:
    """One window to be restored by one plan."""

    plan: Plan
    window: TrialWindow


@dataclass(frozen=True, eq=False)
class Tried:
    """A window before and after, ``(c, h, w)`` in source units; NaN is invalid."""

    before: FloatArray
    after: FloatArray
    filled: FloatArray
    """Not 0 where a pixel was filled."""

    @property
    def removed(self) -> FloatArray:
        """Before minus after."""
        return self.before - self.after

    @property
    def changed(self) -> bool:
        """Whether any pixel differs by more than the rounding of a float32."""
        removed = np.abs(self.removed[np.isfinite(self.removed)])
        size = np.abs(self.before[np.isfinite(self.before)]).max(initial=0.0)
        return bool(self.filled.any() or removed.max(initial=0.0) > ROUNDING * size)

    def at_strength(self, strength: float) -> FloatArray:
        """The window with a share of what was removed mixed back: 1 is after, 0 before."""
        mixed = Removed(self.removed, self.filled).mixed_into(self.after, (...,), strength)
        return np.asarray(mixed, np.float64)


def recipes_to_try(look: FirstLook) -> tuple[str, ...]:
    """The recipe that is proposed, `draft`, and for a JPEG with visible blocks also the other of two.

    Noise and blocks both disturb such a JPEG, and the eye decides which more.
    """
    if look.recipe is None:
        return ()
    other: tuple[str, ...] = ()
    if look.recipe == "archive-deartifact":
        other = ("archive-denoise",)
    elif look.jpeg is not None and look.jpeg.quality <= BLOCKS_ALONE:
        other = ("archive-deartifact",)
    return tuple(dict.fromkeys((look.recipe, "draft", *other)))


def short_plan(planned: Plan, recipe_name: str, *, iterations: int = ITERATIONS) -> Plan:
    """Plan the image of a plan for another recipe, but each window with a short fit of its own.

    Where the recipes differ only in how they fit, the noise and the scaling of the plan are taken, which take
    seconds to find.

    Raises
    ------
    GlassplateError
        As `make_plan`.
    """
    settings = [f"fit.iterations={iterations}", "donor.tiles=0"]
    recipe = load_recipe(recipe_name, settings)
    if _reads_alike(planned.recipe, recipe):
        plan = replace(planned, recipe=recipe, recipe_name=recipe_name)
    else:
        plan = make_plan(planned.spec, recipe, recipe_name=recipe_name)
    return replace(plan, numerics=resolve(threads=recipe.tiles.threads))


def _reads_alike(one: Recipe, other: Recipe) -> bool:
    """Whether two recipes differ only in how windows are fitted."""
    fitted = {name: getattr(one, name) for name in OF_FITS}
    return other.model_copy(update=fitted) == one


def removes_something(plan: Plan) -> bool:
    """Whether a plan changes the valid pixels of the image."""
    return plan.fits and not plan.removes_nothing


def try_window(task: TrialFit, on_progress: OnProgress) -> Tried:
    """Restore one window as a tile of a run is restored.

    Raises
    ------
    FloatingPointError
        If the fit diverges.
    GlassplateError
        If what it gives cannot be right.
    """
    plan, box = task.plan, task.window.box
    source = cached_source(plan.spec, plan.findings)
    around = box.grown(HALO, source.shape[1:])
    pixels = source.read(around, plan.grid.channels(0))
    measurement = plan.measurement(pixels, tile_seed(plan.recipe.seed, 0, 0), around.corner)
    [restored] = fit_batch([measurement], plan.tile_problem)
    if fault := implausible(plan, pixels, restored.values):
        raise GlassplateError(fault)
    shown = (slice(None), *box.relative_to(around).slices)
    final = finish(plan, restored.values.astype(np.float64), pixels)
    given = plan.in_source_units(pixels.values.astype(np.float64))
    filled = plan.to_fill(pixels)
    return Tried(
        before=np.where(pixels.valid, given, np.nan)[shown],
        after=np.where(pixels.valid | filled, final.astype(np.float64), np.nan)[shown],
        filled=filled[shown].astype(np.float64),
    )
