"""Plan the restoration of an image on this machine."""

from __future__ import annotations

from glassplate.models.device.arithmetic import resolve
from glassplate.models.device.numerics import Device, Numerics
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.open_source import open_files
from glassplate.pipeline.planning.companions.companion_checks import check_companions
from glassplate.pipeline.planning.companions.find_companions import with_companions
from glassplate.pipeline.planning.donor_reuse import Inherited
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.planning.plan_files import plan_files
from glassplate.pipeline.recipes.recipe import Recipe
from glassplate.pipeline.sources.source import SourceSpec


def make_plan(
    spec: SourceSpec,
    recipe: Recipe,
    *,
    recipe_name: str,
    device: Device = "auto",
    donor: Inherited | None = None,
    workers: int = 1,
) -> Plan:
    """Open an image, sample it, and decide how it will be restored.

    Parameters
    ----------
    spec, recipe, recipe_name, device
        As in `RestoreRequest`.
    donor
        Donor of an earlier result that is reused; None to fit one, where there are enough tiles.
    workers
        Number of workers that share the tiles.

    Raises
    ------
    SourceError
        If the source or its PSF cannot be read, or the source has no valid pixel.
    UsageError
        If the recipe does not fit the source, the PSF or the machine.
    """
    check_companions(recipe, spec)
    with open_files(with_companions(spec, recipe)) as files:
        return plan_files(
            files,
            recipe,
            recipe_name=recipe_name,
            numerics=numerics_for(recipe, device),
            donor=donor,
            workers=workers,
        )


def numerics_for(recipe: Recipe, device: Device) -> Numerics:
    """How this machine does the arithmetic of a recipe's fits.

    Raises
    ------
    UsageError
        If it has no such device.
    """
    try:
        return resolve(device, "auto", threads=recipe.tiles.threads)
    except ValueError as error:
        raise UsageError(str(error)) from error
