"""The forward operator of a recipe and a PSF, and whether the tiles and the image leave room for it."""

from __future__ import annotations

from glassplate.models.fit.settings import LEAST_SIDE
from glassplate.models.operators.operator import Composition, Identity, Operator
from glassplate.models.operators.psf import Psf
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.recipes.recipe import Recipe
from glassplate.pipeline.sources.source import Source
from glassplate.pipeline.tile_grid import TileGrid


def make_operator(recipe: Recipe, psf: Psf | None) -> Operator:
    """Make the forward operator: a blur with the PSF, where there is one, then downsampling.

    The PSF is on the grid of the estimate, which may be finer than that of the measurement.
    """
    scale, kernel = recipe.operator.scale, recipe.operator.kernel
    if psf is None and scale == 1:
        return Identity()
    # here, as these import torch, without which a plan that only denoises is made and read
    from glassplate.models.operators.blur import Blur
    from glassplate.models.operators.downsample import Downsample

    if psf is None:
        return Downsample(scale, kernel)
    return Composition(Blur(psf), Downsample(scale, kernel)) if scale > 1 else Blur(psf)


def check_reach(operator: Operator, psf: Psf | None, grid: TileGrid) -> None:
    """Refuse tiles so small that the operator reaches beyond their windows.

    Raises
    ------
    UsageError
        If the PSF is larger than a window, or if there are several tiles and their halo is narrower than the
        operator's support, so that pixels of a core would depend on pixels outside the window.
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


def check_size(recipe: Recipe, source: Source) -> None:
    """Refuse an image that is too small to be made smaller, of which an enlarging network learns nothing.

    Raises
    ------
    UsageError
        If the recipe has such a network and the image fewer than 8 rows or columns.
    """
    _, height, width = source.shape
    if recipe.network.kind == "enlarging" and min(height, width) < LEAST_SIDE:
        raise UsageError(
            f"{source.spec.path}: has {height} x {width} pixels, fewer than the {LEAST_SIDE} x {LEAST_SIDE} "
            "from which network.kind enlarging learns; add --recipe astro-upscale"
        )
