"""`glassplate restore`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glassplate.flows.cli import options
from glassplate.flows.cli.image_options import ImageOptions
from glassplate.flows.processes.signals import Interrupted, stop_requested
from glassplate.pipeline.errors import GlassplateError

if TYPE_CHECKING:
    from glassplate.flows.report.progress import Display
    from glassplate.pipeline.pools.pool import Pool
    from glassplate.pipeline.run.restore import RestoreRequest


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(options.grouped(restore))


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


def _how_to_resume(store: Path) -> str:
    if store.exists():
        return f"interrupted; what is done is kept in {store}, the same command goes on from there"
    return "interrupted before anything was written"
