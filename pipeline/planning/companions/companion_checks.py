"""Whether a task gets the companions that it needs, and no companion that it would ignore."""

from __future__ import annotations

from collections.abc import Mapping

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.recipes.recipe import Recipe
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tasks import Role

# For each companion: what is said where it is missing, and where it would be ignored.
_MISSING: Mapping[Role, str] = {
    "psf": "needs a PSF; add --psf FILE",
    "guide": "needs a second image; add --guide FILE",
    "hints": "needs colour hints; add --hints FILE",
    "variance": "needs an image of the noise; add --variance FILE",
}
_IGNORED: Mapping[Role, str] = {
    "psf": "uses no PSF; drop it or add --recipe astro-deconvolve",
    "guide": "uses no guide; drop it",
    "hints": "uses no hints; drop it or add --recipe archive-colorize",
    "variance": "uses no image of the noise; drop it",
}


def check_companions(recipe: Recipe, spec: SourceSpec) -> None:
    """Refuse a recipe without a companion that it needs, and a companion that it would ignore.

    Raises
    ------
    UsageError
        Naming the companion and the way out.
    """
    for role in _MISSING:
        _check_companion(role, recipe, spec)
    if spec.exposure_masks and len(spec.exposure_masks) != len(spec.exposures):
        raise UsageError(
            f"--exposure-mask: {len(spec.exposure_masks)} masks for {len(spec.exposures)} further exposures; "
            "give one for each --exposure, in their order"
        )
    if recipe.operator.kernel == "pick" and recipe.traits.enlarges and spec.psf is None:
        raise UsageError(
            f"{spec.path}: operator.kernel pick needs a PSF, which blurs what it skips; add --psf FILE "
            "or --set operator.kernel=box"
        )
    if recipe.network.kind == "decoder" and spec.guide is not None:
        raise UsageError(
            f"--guide {spec.guide}: network.kind decoder sees nothing but a small random code; drop the "
            "guide or choose another network.kind"
        )
    if recipe.network.kind == "enlarging":
        _check_enlarging(spec)
    if recipe.stopping.rule == "exposure" and not spec.exposures:
        raise UsageError(
            f"{spec.path}: stopping.rule exposure judges by a second exposure; add --exposure FILE or "
            "--set stopping.rule=heldout"
        )


def _check_enlarging(spec: SourceSpec) -> None:
    way_out = "drop it, or add --recipe astro-upscale"
    if spec.psf is not None:
        raise UsageError(
            f"--psf {spec.psf}: network.kind enlarging learns from the image made smaller, which shows "
            f"nothing of a PSF; {way_out}"
        )
    if spec.guide is not None:
        raise UsageError(
            f"--guide {spec.guide}: network.kind enlarging learns from the image alone; {way_out}"
        )


def _check_companion(role: Role, recipe: Recipe, spec: SourceSpec) -> None:
    given, traits = getattr(spec, role), recipe.traits
    if given is None and role in traits.needs:
        raise UsageError(f"{spec.path}: task {recipe.task} {_MISSING[role]}")
    if given is not None and role not in traits.takes | traits.needs:
        option = spec.noise_kind if role == "variance" else role
        raise UsageError(f"--{option} {given}: task {recipe.task} {_IGNORED[role]}")
