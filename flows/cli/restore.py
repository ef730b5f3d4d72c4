"""`glassplate restore` and `glassplate plan`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glassplate.flows.cli import options
from glassplate.flows.processes.signals import Interrupted, asked_to_stop
from glassplate.flows.report.text import amount, duration, number, plural
from glassplate.pipeline.errors import GlassplateError

if TYPE_CHECKING:
    from glassplate.pipeline.recipe import Recipe


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(restore)
    app.command()(plan)


def restore(
    source: options.Input,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT.zarr", help="The result.")],
    recipe: options.RecipeName = None,
    overrides: options.Overrides = None,
    scale: options.Scale = None,
    hdu: options.Hdu = None,
    page: options.Page = None,
    mask: options.Mask = None,
    variance: options.Variance = None,
    sigma: options.Sigma = None,
    weight: options.Weight = None,
    psf: options.PsfFile = None,
    guide: options.GuideFile = None,
    exposures: options.Exposures = None,
    donor: options.Donor = None,
    hints: options.HintsFile = None,
    overlay: options.OverlayFile = None,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="FILE.fits|FILE.tif", help="Write the result there too."),
    ] = None,
    pool: options.PoolKind = "auto",
    workers: options.Workers = None,
    device: options.Device = "auto",
    progress: options.Progress = "auto",
    keep_scratch: Annotated[
        bool, typer.Option("--keep-scratch", help="Keep the restored windows.")
    ] = False,
) -> int:
    """Restore one image. The same command again resumes.

    Exit codes: 0 done, 1 failed, 2 wrong usage or unusable input, 3 done but for some tiles,
    130 interrupted.
    """
    kind = options.parse_progress(progress)
    wished = options.parse_device(device)
    spec = options.parse_source(
        source,
        hdu=hdu,
        page=page,
        mask=mask,
        variance=variance,
        sigma=sigma,
        weight=weight,
        psf=psf,
        guide=guide,
        exposures=exposures,
        hints=hints,
        overlay=overlay,
    )
    name, settings = _recipe(source, recipe, overrides, scale)

    from glassplate.flows.jobs.lazy_pool import StandbyPool
    from glassplate.flows.report.progress import open_display
    from glassplate.flows.report.reports import ImageReport
    from glassplate.pipeline.export.export import check_target
    from glassplate.pipeline.run.restore import RestoreRequest
    from glassplate.pipeline.run.restore import restore as restore_image

    if export is not None:
        check_target(export)
    request = RestoreRequest(
        spec=spec,
        store=output,
        recipe=settings,
        recipe_name=name,
        device=wished,
        export=export,
        keep_scratch=keep_scratch,
        donor=donor,
    )
    try:
        with (
            open_display(kind) as display,
            StandbyPool(pool, workers=workers, device=device) as workforce,
        ):
            result = restore_image(request, workforce, display)
            display.drop(output)
            report = ImageReport.of(source, result)
            display.say("ImageReport", report.text(), report.facts())
    except (KeyboardInterrupt, GlassplateError) as error:
        if isinstance(error, GlassplateError) and not asked_to_stop():
            raise
        raise Interrupted(_how_to_resume(output)) from error
    return 3 if result.status == "partial" else 0


def plan(
    source: options.Input,
    recipe: options.RecipeName = None,
    overrides: options.Overrides = None,
    scale: options.Scale = None,
    hdu: options.Hdu = None,
    page: options.Page = None,
    mask: options.Mask = None,
    variance: options.Variance = None,
    sigma: options.Sigma = None,
    weight: options.Weight = None,
    psf: options.PsfFile = None,
    guide: options.GuideFile = None,
    exposures: options.Exposures = None,
    donor: options.Donor = None,
    hints: options.HintsFile = None,
    overlay: options.OverlayFile = None,
    pool: options.PoolKind = "auto",
    workers: options.Workers = None,
    device: options.Device = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Say what restore would do: tiles, memory, disk, time. Writes nothing."""
    wished = options.parse_device(device)
    spec = options.parse_source(
        source,
        hdu=hdu,
        page=page,
        mask=mask,
        variance=variance,
        sigma=sigma,
        weight=weight,
        psf=psf,
        guide=guide,
        exposures=exposures,
        hints=hints,
        overlay=overlay,
    )
    name, settings = _recipe(source, recipe, overrides, scale)

    from glassplate.flows.jobs.lazy_pool import StandbyPool
    from glassplate.pipeline.planning.donor_reuse import find_donor
    from glassplate.pipeline.planning.make_plan import make_plan
    from glassplate.pipeline.planning.summary import summarise

    previous = None if donor is None else find_donor(donor)
    with StandbyPool(pool, workers=workers, device=device) as workforce:
        count = workforce.workers
        made = make_plan(
            spec, settings, recipe_name=name, device=wished, donor=previous, workers=count
        )
        summary = summarise(made, workers=count)
    typer.echo(json.dumps(summary, indent=2) if as_json else _plan_text(summary))


def _recipe(
    source: Path, recipe: str | None, overrides: list[str] | None, scale: str | None
) -> tuple[str, Recipe]:
    """Name and settings of the wished recipe, or of that of the file's format."""
    factor = options.parse_scale(scale)
    from glassplate.flows.jobs.images import default_recipe
    from glassplate.pipeline.recipe import load_recipe

    name = recipe or default_recipe(source)
    return name, load_recipe(name, overrides or (), scale=factor)


def _how_to_resume(store: Path) -> str:
    if store.exists():
        return f"interrupted; what is done is kept in {store}, the same command goes on from there"
    return "interrupted before anything was written"


def _donor_lines(summary: dict[str, Any]) -> list[str]:
    """Where the weights come from that tiles start from, if not from random ones."""
    if not summary["donor"]:
        return []
    steps = summary["donor_iterations"]
    fitted_on = f", fitted on for {plural(steps, 'iteration')}" if steps else ", as it is"
    return [f"  donor    from {summary['donor']['store']}{fitted_on}"]


def _exposure_lines(summary: dict[str, Any]) -> list[str]:
    """How many exposures are restored as one, and what judges them."""
    if not summary["exposures"]:
        return []
    count = len(summary["exposures"]["alignments"])
    kept = summary["exposures"]["keep_last"]
    return [f"  of       {plural(count, 'exposure')}" + (", the last one judges" if kept else "")]


def _stack_lines(summary: dict[str, Any]) -> list[str]:
    """How many fits go together, where several do."""
    stack, together = (summary["numerics"][name] for name in ("stack", "together"))
    return [] if stack == 1 else [f"  at once  {plural(stack, 'fit')} a worker, {together}"]


def _plan_text(summary: dict[str, Any]) -> str:
    def size(shape: list[int]) -> str:
        return " x ".join(str(length) for length in shape)

    noise = summary["noise"]
    return "\n".join(
        [
            f"{summary['source']}, recipe {summary['recipe']}",
            f"  input    {size(summary['input_shape'])}",
            f"  output   {size(summary['output_shape'])} {summary['output_dtype']}",
            f"  tiles    {summary['tiles']} ({size(summary['tile_grid'])}), "
            f"{plural(summary['workers'], 'worker')}",
            f"  noise    {number(noise['floor'] ** 0.5)} at zero ({noise['origin']})",
            *_exposure_lines(summary),
            *_donor_lines(summary),
            *_stack_lines(summary),
            f"  memory   {amount(summary['host_bytes'])}"
            + (
                f", {amount(summary['device_bytes'])} on the GPU" if summary["device_bytes"] else ""
            ),
            f"  disk     {amount(summary['disk_bytes'])} at most",
            f"  time     about {duration(summary['seconds'])}, if no fit stops early",
            *(f"  warning  {warning}" for warning in summary["warnings"]),
        ]
    )
