"""Whether a task gets the companions that it needs, and no companion that it would ignore."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.recipe import Recipe
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tasks import Companion

# For each companion: what is said where it is missing, and where it would be ignored.
_MISSING: Mapping[Companion, str] = {
    "psf": "needs a PSF; add --psf FILE",
    "guide": "needs a second image; add --guide FILE",
    "hints": "needs colour hints; add --hints FILE",
    "noise": "needs an image of the noise; add --variance FILE",
}
_IGNORED: Mapping[Companion, str] = {
    "psf": "uses no PSF; drop it or add --recipe astro-deconvolve",
    "guide": "uses no guide; drop it",
    "hints": "uses no hints; drop it or add --recipe archive-colorize",
    "noise": "uses no image of the noise; drop it",
}


def check_companions(recipe: Recipe, spec: SourceSpec) -> None:
    """Refuse a recipe without a companion that it needs, and a companion that it would ignore.

    Raises
    ------
    UsageError
        Naming the companion and the way out.
    """
    for companion in _MISSING:
        _check_companion(companion, recipe, spec)
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
    if recipe.stopping.rule == "exposure" and not spec.exposures:
        raise UsageError(
            f"{spec.path}: stopping.rule exposure judges by a second exposure; add --exposure FILE or "
            "--set stopping.rule=heldout"
        )


def _check_companion(companion: Companion, recipe: Recipe, spec: SourceSpec) -> None:
    option, given = _given(companion, spec)
    needed = companion in recipe.traits.needs
    if given is None and needed:
        raise UsageError(f"{spec.path}: task {recipe.task} {_MISSING[companion]}")
    if given is not None and not needed and companion not in recipe.traits.takes:
        raise UsageError(f"--{option} {given}: task {recipe.task} {_IGNORED[companion]}")


def _given(companion: Companion, spec: SourceSpec) -> tuple[str, Path | None]:
    """Name of the option, without its dashes, and the file that was given with it."""
    if companion == "noise":
        return spec.noise_kind, spec.variance
    files: dict[Companion, Path | None] = {
        "psf": spec.psf,
        "guide": spec.guide,
        "hints": spec.hints,
    }
    return companion, files[companion]
