"""`glassplate batch` and `glassplate serve`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from glassplate.flows.cli import options
from glassplate.flows.processes.signals import Interrupted, asked_to_stop, stopped_because
from glassplate.pipeline.errors import GlassplateError


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(batch)
    app.command()(serve)


def batch(job: options.JobFile, progress: options.Progress = "auto") -> int:
    """Restore the images of a job, as a Prefect flow.

    The same command again resumes. A bad image is quarantined, the others finish. Exit codes: 0
    done, 1 no image could be restored, 2 wrong usage, 3 done but for some images or tiles, 130
    interrupted.
    """
    kind = options.parse_progress(progress)
    from glassplate.flows.jobs.images import check_recipes, find_images, require_any
    from glassplate.flows.jobs.job import read_job
    from glassplate.flows.server.server import prefect_api

    parsed = read_job(job)
    found = find_images(parsed)
    require_any(parsed, found)
    check_recipes(found.images)
    try:
        with prefect_api(services=False) as ready:
            from glassplate.flows.jobs.flow import run_job

            ready()
            report = run_job(parsed, kind)
    except (KeyboardInterrupt, GlassplateError) as error:
        if isinstance(error, GlassplateError) and not asked_to_stop():
            raise
        if (cause := stopped_because()) is not None:
            raise cause from error
        raise Interrupted("interrupted; the same command goes on where this one ended") from error
    if kind == "none":
        for image in report.images:
            if image.status == "quarantined":
                named = Path(image.source).with_name(image.label)
                print(f"glassplate: {named}: {image.reason}", file=sys.stderr)
    return report.exit_code


def serve(
    job: options.JobFile,
    cron: Annotated[
        str | None,
        typer.Option("--cron", metavar='"M H DOM MON DOW"', help="When, such as 0 2 * * *."),
    ] = None,
    interval: Annotated[
        float | None, typer.Option("--interval", metavar="SECONDS", help="How often.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name in Prefect. Default: that of the job file.")
    ] = None,
) -> None:
    """Restore the images of a job on a schedule.

    Until Ctrl-C or SIGTERM. Each run looks for the inputs anew and skips what is done; runs never
    overlap. Uses the Prefect server of PREFECT_API_URL, or starts one of its own.
    """
    from glassplate.flows.jobs.images import check_recipes, find_images, require_any_without_fault
    from glassplate.flows.jobs.job import read_job
    from glassplate.flows.jobs.schedule import Timetable, serve_job

    timetable = Timetable(cron=cron, interval_s=interval)
    parsed = read_job(job)
    found = find_images(parsed)
    require_any_without_fault(found)
    check_recipes(found.images)
    try:
        serve_job(
            parsed,
            timetable,
            name or job.stem,
            lambda line: print(line, file=sys.stderr, flush=True),
        )
    except KeyboardInterrupt:
        if (cause := stopped_because()) is not None:
            raise cause from None
        # the way a service ends; what a run had not finished, the next one does
        print("glassplate: stopped", file=sys.stderr)
