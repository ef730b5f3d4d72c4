"""`glassplate restore` and `glassplate plan`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glassplate.flows.cli import options
from glassplate.flows.cli.image_options import ImageOptions
from glassplate.flows.processes.signals import Interrupted, stop_requested
from glassplate.flows.report.text import amount, duration, number, plural
from glassplate.pipeline.errors import GlassplateError

if TYPE_CHECKING:
    from glassplate.flows.report.progress import Display
    from glassplate.pipeline.planning.summary import PlanSummary
    from glassplate.pipeline.pools.pool import Pool
    from glassplate.pipeline.run.restore import RestoreRequest


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(options.grouped(restore))
    app.command()(options.grouped(plan))


# seven parameters: a parameter of a command is an option, or a group of options
def restore(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT.zarr", help="The result.")],
    recipe: options.RecipeOptions,
    image: ImageOptions,
    pool: options.PoolOptions,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FILE.fits|FILE.tif|FILE.jp2",
            help="Write the result to this file too.",
        ),
    ] = None,
    progress: options.Progress = "auto",
    keep_scratch: Annotated[
        bool, typer.Option("--keep-scratch", help="Keep the restored windows.")
    ] = False,
) -> int:
    """Restore one image, or several of a FITS file. The same command again resumes.

    Each of several has a result of its own, OUT-HDU.zarr, and --export writes one file for all.

    Exit codes: 0 done, 1 failed, 2 wrong usage or unusable input, 3 some tiles could not be restored,
    130 interrupted.
    """
    specs = image.specs()
    recipe_name, settings = recipe.load(image.path)

    from glassplate.flows.jobs.lazy_pool import LazyPool
    from glassplate.flows.report.progress import open_display
    from glassplate.pipeline.export.export import check_target
    from glassplate.pipeline.run.joint_export import export_jointly
    from glassplate.pipeline.run.restore import RestoreRequest

    several = len(specs) > 1
    if export is not None:
        check_target(export, several=several)
    requests = [
        RestoreRequest(
            spec=spec,
            store=_store_of(output, spec.hdu) if several else output,
            recipe=settings,
            recipe_name=recipe_name,
            device=pool.device,
            export=None if several else export,
            keep_scratch=keep_scratch,
            donor=recipe.donor,
        )
        for spec in specs
    ]
    current = requests[0]
    try:
        with (
            open_display(progress) as display,
            LazyPool(pool.pool, workers=pool.workers, device=pool.device) as workers,
        ):
            complete = True
            for current in requests:
                complete &= _restore_one(current, image.source, workers, display, several=several)
            if several and export is not None:
                export_jointly([request.store for request in requests], export, display)
                display.report("Export", f"export      {export}", {"export": str(export)})
    except (KeyboardInterrupt, GlassplateError) as error:
        if isinstance(error, GlassplateError) and not stop_requested():
            raise
        raise Interrupted(_how_to_resume(current.store)) from error
    return 0 if complete else 3


def _restore_one(
    request: RestoreRequest, source: Path, pool: Pool, display: Display, *, several: bool
) -> bool:
    """Restore one image and report it; return whether it is complete."""
    from glassplate.flows.report.reports import ImageReport
    from glassplate.pipeline.run.restore import restore as restore_image

    result = restore_image(request, pool, display)
    display.forget(request.store)
    part = str(request.spec.hdu) if several else ""
    report = ImageReport.from_result(request.spec.path if several else source, result, part)
    display.report("ImageReport", report.text(), asdict(report))
    return result.status == "complete"


def _store_of(output: Path, hdu: int | str | None) -> Path:
    """Result of one of several images: ``OUT-SCI,2.zarr``."""
    from glassplate.flows.jobs.result_names import name_of_hdu

    return output.with_name(f"{output.stem}-{name_of_hdu(hdu)}{output.suffix}")


def plan(
    recipe: options.RecipeOptions,
    image: ImageOptions,
    pool: options.PoolOptions,
    as_json: options.AsJson = False,
) -> None:
    """Say what restore would do: tiles, memory, disk, time. Writes nothing."""
    spec = image.spec()
    recipe_name, settings = recipe.load(image.path)

    from glassplate.flows.jobs.lazy_pool import LazyPool
    from glassplate.pipeline.planning.donor_reuse import find_donor
    from glassplate.pipeline.planning.make_plan import make_plan
    from glassplate.pipeline.planning.summary import summarise

    donor = None if recipe.donor is None else find_donor(recipe.donor)
    with LazyPool(pool.pool, workers=pool.workers, device=pool.device) as workers:
        count = workers.workers
        made = make_plan(
            spec, settings, recipe_name=recipe_name, device=pool.device, donor=donor, workers=count
        )
        summary = summarise(made, workers=count)
    typer.echo(json.dumps(asdict(summary), indent=2) if as_json else _plan_text(summary))


ROLES = {"mask": "mask", "variance": "sigmas", "detector": "detector"}
"""What a line of the plan calls a companion."""


def _how_to_resume(store: Path) -> str:
    if store.exists():
        return f"interrupted; what is done is kept in {store}, the same command goes on from there"
    return "interrupted before anything was written"


def _donor_lines(summary: PlanSummary) -> list[str]:
    """The earlier result from whose donor the tiles start, if there is one."""
    if summary.donor is None:
        return []
    steps = summary.donor_iterations
    fitted_on = f", fitted on for {plural(steps, 'iteration')}" if steps else ", as it is"
    return [f"  donor    from {summary.donor.store}{fitted_on}"]


def _exposure_lines(summary: PlanSummary) -> list[str]:
    """Number of exposures that are restored as one, and the one that is kept for validation."""
    combination = summary.exposures
    if combination is None:
        return []
    kept = ", the last one judges" if combination.keep_last else ""
    return [f"  of       {plural(len(combination.alignments), 'exposure')}{kept}"]


def _stack_lines(summary: PlanSummary) -> list[str]:
    """Number of fits that run at once, if there are several."""
    numerics = summary.numerics
    if numerics.stack == 1:
        return []
    return [f"  at once  {plural(numerics.stack, 'fit')} a worker, {numerics.together}"]


def _noise_words(summary: PlanSummary) -> str:
    """The noise as it was found, or what was given."""
    found, noise = summary.noise_found, summary.noise
    if found is None:
        return f"{number(noise.floor**0.5)} at zero ({noise.origin})"
    return found.words


def _plan_text(summary: PlanSummary) -> str:
    def size(shape: Sequence[int]) -> str:
        return " x ".join(str(length) for length in shape)

    return "\n".join(
        [
            f"{summary.source}, recipe {summary.recipe}",
            f"  input    {size(summary.input_shape)}",
            f"  output   {size(summary.output_shape)} {summary.output_dtype}",
            f"  tiles    {summary.tiles} ({size(summary.tile_grid)}), "
            f"{plural(summary.workers, 'worker')}",
            f"  noise    {_noise_words(summary)}",
            *(f"  {ROLES[one.role]:8} {one.words}" for one in summary.companions),
            *_exposure_lines(summary),
            *_donor_lines(summary),
            *_stack_lines(summary),
            f"  memory   {amount(summary.host_bytes)}"
            + (f", {amount(summary.device_bytes)} on the GPU" if summary.device_bytes else ""),
            f"  disk     {amount(summary.disk_bytes)} at most",
            f"  time     about {duration(summary.seconds)}, if no fit stops early",
            *(f"  warning  {warning}" for warning in summary.warnings),
        ]
    )
