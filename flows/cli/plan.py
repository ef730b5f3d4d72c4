"""`glassplate plan`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from glassplate.flows.cli import options
from glassplate.flows.cli.image_options import ImageOptions
from glassplate.flows.report.text import amount, duration, number, plural, reason
from glassplate.pipeline.errors import GlassplateError

if TYPE_CHECKING:
    from glassplate.pipeline.planning.summary import PlanSummary, PlanTotals
    from glassplate.pipeline.planning.timing.duration import TrialsByKey

ROLES = {"mask": "mask", "variance": "sigmas", "detector": "detector"}
"""What a line of the plan calls a companion."""


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(options.grouped(plan))


def plan(
    recipe: options.RecipeOptions,
    image: ImageOptions,
    pool: options.PoolOptions,
    as_json: options.AsJson = False,
) -> int:
    """Say what restore would do: tiles, memory, disk, time. Writes nothing.

    Of several images of a FITS file it says so for each, and for all together. Exit code 3: some of them
    cannot be restored.
    """
    specs = image.specs()
    recipe_name, settings = recipe.load(image.path)

    from glassplate.flows.jobs.lazy_pool import LazyPool
    from glassplate.pipeline.planning.donor_reuse import find_donor
    from glassplate.pipeline.planning.make_plan import make_plan
    from glassplate.pipeline.planning.summary import RefusedImage, summarise, total

    donor = None if recipe.donor is None else find_donor(recipe.donor)
    tried: TrialsByKey = {}  # the chips of a mosaic are fitted alike
    summaries: list[PlanSummary] = []
    errors: list[GlassplateError] = []
    refused: list[RefusedImage] = []
    with LazyPool(pool.pool, workers=pool.workers, device=pool.device) as workers:
        count = workers.workers
        for spec in specs:
            try:
                planned = make_plan(
                    spec,
                    settings,
                    recipe_name=recipe_name,
                    device=pool.device,
                    donor=donor,
                    workers=count,
                )
            except GlassplateError as error:
                errors.append(error)
                refused.append(RefusedImage(str(spec.hdu), reason(error)))
            else:
                summaries.append(summarise(planned, workers=count, tried=tried))
    if not summaries:
        raise errors[0]
    totals = total(summaries, refused)
    if as_json:
        from glassplate.flows.cli.documents import print_document

        print_document(totals if len(specs) > 1 else summaries[0])
    else:
        for summary in summaries:
            typer.echo(_plan_text(summary))
        for one in refused:
            typer.echo(f"{image.path}[{one.part}] cannot be restored\n  reason   {one.reason}")
        if len(specs) > 1:
            typer.echo(_totals_text(totals))
    return 3 if refused else 0


def _named(summary: PlanSummary) -> str:
    """The file, and the image in it where one was named."""
    return f"{summary.source}[{summary.part}]" if summary.part else summary.source


def _memory_line(host_bytes: int, device_bytes: int) -> str:
    on_gpu = f", {amount(device_bytes)} on the GPU" if device_bytes else ""
    return f"  memory   {amount(host_bytes)}{on_gpu}"


def _totals_text(totals: PlanTotals) -> str:
    left_out = f", without {len(totals.refused)} that cannot be restored" if totals.refused else ""
    return "\n".join(
        [
            f"in all, {plural(len(totals.images), 'image')}{left_out}",
            f"  tiles    {totals.tiles}",
            _memory_line(totals.host_bytes, totals.device_bytes),
            f"  disk     {amount(totals.disk_bytes)} at most",
            f"  time     about {duration(totals.seconds)}, one image after the other",
        ]
    )


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
            f"{_named(summary)}, recipe {summary.recipe}",
            f"  input    {size(summary.input_shape)}",
            f"  output   {size(summary.output_shape)} {summary.output_dtype}",
            f"  tiles    {summary.tiles} ({size(summary.tile_grid)}), "
            f"{plural(summary.workers, 'worker')}",
            f"  noise    {_noise_words(summary)}",
            *(f"  {ROLES.get(one.role, 'mask'):8} {one.words}" for one in summary.companions),
            *_exposure_lines(summary),
            *_donor_lines(summary),
            *_stack_lines(summary),
            _memory_line(summary.host_bytes, summary.device_bytes),
            f"  disk     {amount(summary.disk_bytes)} at most",
            f"  time     about {duration(summary.seconds)}, if no fit stops early",
            *(f"  warning  {warning}" for warning in summary.warnings),
        ]
    )
