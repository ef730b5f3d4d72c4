"""The forward operator of a run: from its recipe and PSF, and whether the tiles leave room for it."""

from __future__ import annotations

from glassplate.models.operators.blur import Blur, Psf
from glassplate.models.operators.downsample import Downsample
from glassplate.models.operators.operator import Composition, Identity, Operator
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.grid import TileGrid
from glassplate.pipeline.recipe import Recipe
from glassplate.pipeline.sources.source import SourceSpec


def make_operator(recipe: Recipe, psf: Psf | None) -> Operator:
    """The operator of a recipe: blur with the PSF, where there is one, then downsample.

    The PSF is on the grid of the estimate, so that it may be finer than the pixels of the measurement.
    """
    scale, kernel = recipe.operator.scale, recipe.operator.kernel
    if psf is None:
        return Downsample(scale, kernel) if scale > 1 else Identity()
    return Composition(Blur(psf), Downsample(scale, kernel)) if scale > 1 else Blur(psf)


def check_psf_is_wanted(recipe: Recipe, spec: SourceSpec) -> None:
    """Refuse a task without the PSF that it needs, and a PSF that nothing would use.

    Raises
    ------
    UsageError
        Saying which, and the way out.
    """
    if recipe.task == "deconvolve" and spec.psf is None:
        raise UsageError(f"{spec.path}: task deconvolve needs a PSF; add --psf FILE")
    if recipe.task not in {"deconvolve", "superres"} and spec.psf is not None:
        raise UsageError(
            f"--psf {spec.psf}: task {recipe.task} uses no PSF; drop it or add "
            "--recipe astro-deconvolve"
        )
    if recipe.task == "superres" and recipe.operator.kernel == "pick" and spec.psf is None:
        raise UsageError(
            f"{spec.path}: operator.kernel pick needs a PSF, which blurs what it skips; add --psf FILE "
            "or --set operator.kernel=box"
        )


def check_guide_is_wanted(recipe: Recipe, spec: SourceSpec) -> None:
    """Refuse a task without the guide that it needs, and a guide that nothing would use.

    Raises
    ------
    UsageError
        Saying which, and the way out.
    """
    if recipe.task == "guided" and spec.guide is None:
        raise UsageError(f"{spec.path}: task guided needs a second image; add --guide FILE")
    if recipe.network.kind == "decoder" and spec.guide is not None:
        raise UsageError(
            f"--guide {spec.guide}: network.kind decoder sees nothing but a small random code; drop the "
            "guide or choose another network.kind"
        )
    if recipe.task == "identity" and spec.guide is not None:
        raise UsageError(f"--guide {spec.guide}: task identity uses no guide; drop it")


def check_exposures_are_wanted(recipe: Recipe, spec: SourceSpec) -> None:
    """Refuse a stopping rule without the exposure that it judges by.

    Raises
    ------
    UsageError
        Saying the way out.
    """
    if recipe.stopping.rule == "exposure" and not spec.exposures:
        raise UsageError(
            f"{spec.path}: stopping.rule exposure judges by a second exposure; add --exposure FILE or "
            "--set stopping.rule=heldout"
        )


def check_reach(operator: Operator, psf: Psf | None, grid: TileGrid) -> None:
    """Refuse tiles so small that the operator looks beyond their windows.

    Raises
    ------
    UsageError
        If the PSF is larger than a window, or if there are several tiles and their halo is narrower
        than the operator's support: pixels of a core would depend on what no window holds.
    """
    scale = operator.scale
    _, height, width = (n * scale for n in grid.window_shape)
    if psf is not None and (psf.shape[0] > height or psf.shape[1] > width):
        raise UsageError(
            f"PSF of {psf.shape[0]} x {psf.shape[1]} pixels: larger than a window of {height} x {width} "
            "pixels of the result; cut it to where it is bright, or raise tiles.core where the image "
            "is larger"
        )
    reach = -(-operator.support // scale)
    several = grid.y.count * grid.x.count > 1
    if several and grid.halo < reach:
        raise UsageError(
            f"tiles.halo {grid.halo}: less than the {reach} pixels that the forward operator reaches; "
            f"add --set tiles.halo={reach}" + (" or cut the PSF" if psf is not None else "")
        )


def check_hints_are_wanted(recipe: Recipe, spec: SourceSpec) -> None:
    """Refuse a task without the hints that it needs, and hints that nothing would use.

    Raises
    ------
    UsageError
        Saying which, and the way out.
    """
    if recipe.task == "colorize" and spec.hints is None:
        raise UsageError(f"{spec.path}: task colorize needs colour hints; add --hints FILE")
    if recipe.task != "colorize" and spec.hints is not None:
        raise UsageError(
            f"--hints {spec.hints}: task {recipe.task} uses no hints; drop it or add "
            "--recipe archive-colorize"
        )
    for name, given in (("guide", spec.guide), (spec.noise_kind, spec.variance)):
        if recipe.task == "colorize" and given is not None:
            raise UsageError(f"--{name} {given}: task colorize uses none; drop it")
