"""`glassplate restore`."""

from __future__ import annotations

import sys
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
    from glassplate.flows.report.reports import ImageReport
    from glassplate.pipeline.pools.pool import Pool
    from glassplate.pipeline.run.restore import RestoreRequest


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(options.grouped(restore))


# eight parameters: a parameter of a command is an option, or a group of options
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
    as_json: options.AsJson = False,
) -> int:
    """Restore one image, or several of a FITS file. The same command again resumes.

    Each of several has a result of its own, OUT-HDU.zarr, and --export writes one file for all. One that
    cannot be restored does not stop the others, and is exported as it is in the input.

    Exit codes: 0 done, 1 failed, 2 wrong usage or unusable input, 3 some tiles or images could not be
    restored, 130 interrupted.
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
    progress = "none" if as_json else progress
    with (
        open_display(progress) as display,
        LazyPool(pool.pool, workers=pool.workers, device=pool.device) as workers,
    ):
        if several:
            reports = _restore_each(requests, workers, display, say=progress == "none")
        else:
            reports = [_restore_one(requests[0], workers, display, image.source)]
        joint = export if several else None
        if joint is not None:
            stores = [
                request.store
                for request, report in zip(requests, reports, strict=True)
                if report.status != "quarantined"
            ]
            export_jointly(stores, joint, display)
            display.report("Export", f"export      {joint}", {"export": str(joint)})
    if as_json:
        from glassplate.flows.cli.documents import Restored, print_document

        print_document(Restored(tuple(reports), None if joint is None else str(joint)))
    return 3 if any(report.status in ("partial", "quarantined") for report in reports) else 0


def _restore_each(
    requests: list[RestoreRequest], pool: Pool, display: Display, *, say: bool
) -> list[ImageReport]:
    """Restore each of several images of a file. One that is refused is reported, and the others go on.

    Parameters
    ----------
    say
        Whether to print the reason to standard error, since the display shows nothing.

    Raises
    ------
    GlassplateError
        If the reason is one of the moment, such as a full disk, which the others would share; if no image
        can be restored.
    """
    from glassplate.flows.report.reports import ImageReport
    from glassplate.flows.report.text import reason
    from glassplate.pipeline.text import printable

    reports: list[ImageReport] = []
    refusals: list[GlassplateError] = []
    for request in requests:
        path, part = request.spec.path, str(request.spec.hdu)
        try:
            reports.append(_restore_one(request, pool, display, path, part))
        except GlassplateError as error:
            if error.passing or error.exit_code == Interrupted.exit_code:
                raise
            refusals.append(error)
            display.forget(request.store)
            report = ImageReport(
                source=printable(str(path)),
                store=printable(str(request.store)),
                status="quarantined",
                reason=printable(reason(error)),
                part=part,
            )
            reports.append(report)
            display.report("ImageReport", report.text(), asdict(report))
            if say:
                sys.stderr.write(f"glassplate: {report.label}: {report.reason}\n")
    if len(refusals) == len(requests):
        raise refusals[0]
    return reports


def _restore_one(
    request: RestoreRequest, pool: Pool, display: Display, source: Path, part: str = ""
) -> ImageReport:
    """Restore one image and report it."""
    from glassplate.flows.report.reports import ImageReport
    from glassplate.pipeline.run.restore import restore as restore_image

    try:
        result = restore_image(request, pool, display)
    except (KeyboardInterrupt, GlassplateError) as error:
        if isinstance(error, GlassplateError) and not stop_requested():
            raise
        raise Interrupted(_how_to_resume(request.store)) from error
    display.forget(request.store)
    report = ImageReport.from_result(source, result, part)
    display.report("ImageReport", report.text(), asdict(report))
    return report


def _store_of(output: Path, hdu: int | str | None) -> Path:
    """Result of one of several images: ``OUT-SCI,2.zarr``."""
    from glassplate.flows.jobs.result_names import name_of_hdu

    return output.with_name(f"{output.stem}-{name_of_hdu(hdu)}{output.suffix}")


def _how_to_resume(store: Path) -> str:
    if store.exists():
        return f"interrupted; what is done is kept in {store}, the same command goes on from there"
    return "interrupted before anything was written"
