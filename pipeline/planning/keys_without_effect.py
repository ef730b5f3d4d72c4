"""Recipe keys that the user changed and that do nothing for this image, or less than they say.

The plan warns of each, so that no key is ignored without a word. A key counts as changed where its value is
not that of the shipped recipe of that name, or, for a recipe of the user's own, not the default.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, NamedTuple

from glassplate.models.donor.donor_problem import most_steps
from glassplate.models.networks.settings import LEAN
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.recipes.recipe import Recipe, flat_values, load_recipe, recipe_names
from glassplate.pipeline.text import plural

# Keys that decide how pixels are copied; a task that fits nothing has no use for any other.
_OF_COPIES = {"task", "tiles.core", "tiles.halo", "tiles.batch", "output.chunk", "output.shard"}

# Keys of what tiles learn.
_OF_LEARNING_TILES = (
    "tiles.stack",
    "tiles.together",
    "fit.predictions",
    "fit.average",
    "fit.tv",
    "fit.robust",
    "donor.tiles",
    "donor.network",
    "donor.tile_iterations",
    "donor.tile_least",
    "donor.tile_predictions",
    "donor.tile_passes",
    "stopping.rule",
    "stopping.heldout",
    "stopping.patience",
    "stopping.minimum",
)


class _Finding(NamedTuple):
    """Keys that do nothing, or less than they say."""

    keys: tuple[str, ...]
    reason: str
    """Why, and the way out, as the rest of a sentence."""
    has_effect: bool = False
    """Whether they do something all the same."""


def key_warnings(plan: Plan) -> tuple[str, ...]:
    """One line for each reason why keys that the user changed do not do what they say.

    Parameters
    ----------
    plan
        With its donor and its stack decided.
    """
    changed = changed_values(plan.recipe, plan.recipe_name)
    lines: list[str] = []
    for keys, reason, has_effect in _findings(plan, changed):
        named = [f"{key} {_as_yaml(changed.pop(key))}" for key in keys if key in changed]
        if named:
            effect = "" if has_effect else f" {'has' if len(named) == 1 else 'have'} no effect"
            lines.append(f"{', '.join(named)}{effect}: {reason}")
    return tuple(lines)


def changed_values(recipe: Recipe, name: str) -> dict[str, Any]:
    """Values by key that differ from the shipped recipe of that name, or else from the defaults."""
    usual = flat_values(load_recipe(name) if name in recipe_names() else Recipe())
    return {key: value for key, value in flat_values(recipe).items() if value != usual[key]}


def _as_yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _findings(plan: Plan, changed: dict[str, Any]) -> Iterator[_Finding]:
    if not plan.recipe.traits.fits:
        yield _nothing_is_fitted(plan)
        return
    yield from _tiles(plan)
    yield from _network(plan)
    yield from _input(plan)
    yield from _answer(plan)
    yield from _starts(plan, changed)
    yield from _stopping(plan)
    yield from _pixels(plan)


def _nothing_is_fitted(plan: Plan) -> _Finding:
    used = set(_OF_COPIES)
    if plan.spec.exposures:
        # exposures are weighted by their noise, and one of them may be kept from the mean
        used |= {key for key in flat_values(plan.recipe) if key.startswith("noise.")}
        used.add("stopping.rule")
    unused = tuple(key for key in flat_values(plan.recipe) if key not in used)
    return _Finding(unused, f"task {plan.recipe.task} fits nothing")


def _tiles(plan: Plan) -> Iterator[_Finding]:
    stack, wished = plan.numerics.stack, plan.recipe.tiles.stack
    if plan.grid.y.count * plan.grid.x.count == 1:
        yield _Finding(("tiles.halo",), "the image is one tile")
    if wished != "auto" and stack < wished:
        reason = f"a unit of work of this image has {plan.batch_size} tiles, and {stack} are fitted at once"
        yield _Finding(("tiles.stack",), reason, has_effect=True)
    if stack == 1:
        yield _Finding(("tiles.together",), "tiles are fitted one at a time")
    if plan.numerics.device == "cuda":
        yield _Finding(("tiles.threads",), "tiles are fitted on a GPU")


def _network(plan: Plan) -> Iterator[_Finding]:
    network = plan.recipe.network
    kind = f"network.kind is {network.kind}"
    if network.kind not in LEAN:
        yield _Finding(("network.fine_channels",), kind)
    if network.kind not in (*LEAN, "skip"):
        yield _Finding(("network.skip_channels",), kind)
    if network.kind in ("resnet", "decoder", "enlarging"):
        yield _Finding(("network.upsample",), kind)
    if network.kind == "enlarging":
        yield _Finding(("network.output",), f"{kind}, which adds to the interpolated image")
        yield _Finding(_OF_LEARNING_TILES, f"{kind}, of which only the donor learns")
    if network.kind in LEAN:
        for name in ("fine_channels", "skip_channels"):
            if getattr(network, name) > network.channels:
                reason = (
                    f"a network of kind {network.kind} takes no more than network.channels "
                    f"{network.channels}"
                )
                yield _Finding((f"network.{name}",), reason, has_effect=True)


def _input(plan: Plan) -> Iterator[_Finding]:
    kind = plan.problem.input
    shown = f"the network's input is {kind}"
    if kind != "blindspot":
        yield _Finding(("fit.drop", "fit.holes"), shown)
    elif plan.noise.correlated:
        yield _Finding(("fit.holes",), "the noise is correlated")
    if kind != "noise":
        yield _Finding(("fit.input_depth", "fit.input_noise"), shown)
    elif plan.recipe.network.kind == "decoder":
        yield _Finding(("fit.input_noise",), "network.kind is decoder")


def _answer(plan: Plan) -> Iterator[_Finding]:
    """Keys of what follows the fit."""
    fit, kind = plan.recipe.fit, plan.problem.input
    if plan.operator.mixes:
        mixed = "each measured pixel comes from several of the result"
        of_pixels = (
            "fit.posterior_radius",
            "fit.posterior_doubt",
            "fit.collaborative",
            "fit.guard",
        )
        yield _Finding(of_pixels, mixed)
    elif kind != "blindspot":
        keys = ("fit.posterior", "fit.posterior_radius", "fit.posterior_doubt")
        yield _Finding(keys, f"the network's input is {kind}")
    elif not fit.posterior:
        yield _Finding(("fit.posterior_doubt",), "fit.posterior is false")
        if not fit.uncertainty:
            yield _Finding(("fit.posterior_radius",), "fit.posterior is false")
    if plan.noise.floor == plan.noise.slope == 0 and not plan.has_variance:
        yield _Finding(("fit.tv", "fit.guard"), "the image has no noise")


def _starts(plan: Plan, changed: dict[str, Any]) -> Iterator[_Finding]:
    """Keys of warm starts, and those that a warm start limits."""
    fit, donor = plan.recipe.fit, plan.recipe.donor
    if not plan.warm:
        names = tuple(field.name for field in fields(donor) if field.name != "tiles")
        yield _Finding(tuple(f"donor.{name}" for name in names), _why_not_warm(plan))
        if plan.problem.input != "blindspot":
            yield _Finding(("donor.tiles",), _why_not_warm(plan))
        return
    inherited = plan.donor is not None
    if inherited:
        keys = ("donor.tiles", "donor.iterations", "fit.learning_rate")
        yield _Finding(keys, "tiles start from the donor of --donor")
    else:
        yield _Finding(("donor.refine",), "there is no --donor")
    limit = plan.donor_settings.tile_iterations
    learning = plan.problem.input != "cross-scale"
    if learning and fit.iterations > limit and "donor.tile_iterations" not in changed:
        reason = (
            f"tiles of this image start from a donor and take at most donor.tile_iterations {limit}; "
            f"set that, or {'drop --donor' if inherited else 'set donor.tiles=0'}"
        )
        yield _Finding(("fit.iterations",), reason, has_effect=True)
    if learning and donor.tile_iterations > fit.iterations:
        reason = f"no fit takes more than fit.iterations {fit.iterations}; raise that too"
        yield _Finding(("donor.tile_iterations",), reason, has_effect=True)
    for field in fields(donor):
        used = getattr(plan.donor_settings, field.name)
        if used != getattr(donor, field.name):
            reason = f"an image of {len(plan.grid)} tiles has {used}"
            yield _Finding((f"donor.{field.name}",), reason, has_effect=True)
    name = "refine" if inherited else "iterations"
    if getattr(plan.donor_settings, name) > most_steps(fit.iterations, plan.donor_settings):
        reason = (
            f"a donor takes at most fit.iterations {fit.iterations} for each 24 windows; raise "
            "that too"
        )
        yield _Finding((f"donor.{name}",), reason, has_effect=True)


def _why_not_warm(plan: Plan) -> str:
    if plan.problem.input != "blindspot":
        return (
            f"the network's input is {plan.problem.input}, and each tile starts from random weights"
        )
    if plan.recipe.donor.tiles == 0:
        return "donor.tiles is 0, and each tile starts from random weights"
    return (
        f"the image has {plural(len(plan.grid), 'tile')}, fewer than donor.tiles "
        f"{plan.recipe.donor.tiles}, and each starts from random weights"
    )


def _stopping(plan: Plan) -> Iterator[_Finding]:
    stopping, warm = plan.recipe.stopping, plan.tile_problem.stopping
    named = f"stopping.rule is {stopping.rule}"
    if stopping.rule != "heldout":
        yield _Finding(("stopping.heldout",), named)
    if stopping.rule in ("fixed", "chi2"):
        yield _Finding(("stopping.patience",), named)
    if stopping.rule == "fixed":
        yield _Finding(("stopping.minimum",), named)
    for name in ("patience", "minimum"):
        limit = getattr(warm, name)
        if limit < getattr(stopping, name):
            reason = (
                f"a tile that starts from a donor takes {limit}, a third of its iterations; raise "
                "donor.tile_iterations too"
            )
            yield _Finding((f"stopping.{name}",), reason, has_effect=True)


def _pixels(plan: Plan) -> Iterator[_Finding]:
    """Keys of the noise, the scaling, the defects, the forward operator and the output."""
    recipe, traits = plan.recipe, plan.recipe.traits
    named = f"the task is {recipe.task}"
    if not traits.measures and not plan.spec.exposures:
        yield _Finding(tuple(k for k in flat_values(recipe) if k.startswith("noise.")), named)
    if "hints" in traits.needs:
        yield _Finding(("scaling.kind",), named)
    if plan.spec.mask is None:
        yield _Finding(("companions.dq_bits", "companions.dq_codes"), "the image has no mask")
    detector = plan.findings.detector
    looked_for = recipe.defects if detector is None else detector.settings
    if not (detector and looked_for.cosmic_rays):
        keys = ("defects.cosmic_sigma", "defects.cosmic_contrast")
        yield _Finding(keys, "no cosmic rays are looked for")
    if looked_for.specks == "none":
        of_specks = ("defects.speck_radius", "defects.speck_sigma", "defects.grow")
        yield _Finding(of_specks, "defects.specks is none")
    if recipe.operator.scale == 1:
        yield _Finding(("operator.kernel", "output.flux"), "the result is not enlarged")
    if recipe.operator.jpeg_quality is None:
        yield _Finding(("operator.jpeg_sampling",), "operator.jpeg_quality is null")
    if traits.fills_only:
        yield _Finding(("output.invalid",), f"{named}, which fills every invalid pixel")
