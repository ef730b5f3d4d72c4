"""`glassplate batch` and `glassplate serve`."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from glassplate.flows.cli import options
from glassplate.flows.processes.signals import Interrupted, stop_cause, stop_requested
from glassplate.flows.report.progress_kind import ProgressKind
from glassplate.pipeline.errors import GlassplateError

if TYPE_CHECKING:
    from glassplate.flows.jobs.images import FoundImages
    from glassplate.flows.jobs.job import Job
    from glassplate.flows.report.job_plan import JobPlan
    from glassplate.flows.report.job_report import JobReport


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(batch)
    app.command()(serve)


def batch(
    job: options.JobFile,
    progress: options.Progress = "auto",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be done, with time and disk; do nothing."),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try quarantined images again too.")
    ] = False,
    as_json: options.AsJson = False,
) -> int:
    """Restore the images of a job, as a Prefect flow.

    The same command again resumes. A bad image is quarantined, and the others are restored. Exit codes:
    0 done, 1 no image could be restored, 2 wrong usage, 3 some images or tiles could not be restored,
    130 interrupted.
    """
    from glassplate.flows.jobs.job import read_job

    given = read_job(job)
    progress = "none" if as_json else progress
    if dry_run:
        from glassplate.flows.jobs.running.dry_run import plan_job

        parsed, found = _with_images(given)
        plan = plan_job(parsed, found.images, retry_failed=retry_failed)
        _say("JobPlan", plan, progress, as_json=as_json)
        return 0

    from glassplate.flows.processes.importing import importing
    from glassplate.flows.server.server import prefect_api

    try:
        # the server takes six seconds of a core to start, as long as all that is done here meanwhile
        with prefect_api(services=False) as wait_for_api:
            parsed, _ = _with_images(given)
            with importing():
                from glassplate.flows.jobs.flow import run_job

            wait_for_api()
            report = run_job(parsed, progress, retry_failed=retry_failed)
    except (KeyboardInterrupt, GlassplateError) as error:
        if isinstance(error, GlassplateError) and not stop_requested():
            raise
        if (cause := stop_cause()) is not None:
            raise cause from error
        raise Interrupted("interrupted; the same command goes on where this one ended") from error
    if progress == "none":
        for image in report.images:
            if image.status in ("quarantined", "pending"):
                labelled = Path(image.source).with_name(image.label)
                print(f"glassplate: {labelled}: {image.reason}", file=sys.stderr)
    if as_json:
        _say("JobReport", report, progress, as_json=True)
    return report.exit_code


def _with_images(job: Job) -> tuple[Job, FoundImages]:
    """The job with copies of what lies in buckets, and its images.

    Raises
    ------
    UsageError
        If no image could be restored, or a recipe is invalid.
    """
    from glassplate.flows.accounts.account import Account
    from glassplate.flows.jobs.buckets.inputs import with_copies
    from glassplate.flows.jobs.images import check_recipes, find_images, refuse_empty_job
    from glassplate.flows.jobs.running.known import known_facts

    job = with_copies(job, lambda line: print(line, file=sys.stderr, flush=True))
    found = find_images(job, known_facts(Account(job.output)))
    refuse_empty_job(job, found)
    check_recipes(found.images)
    return job, found


def _say(kind: str, said: JobPlan | JobReport, progress: ProgressKind, *, as_json: bool) -> None:
    """Print a plan or a report, as JSON or as the display does."""
    if as_json:
        from glassplate.flows.cli.documents import print_document

        print_document(said)
        return
    from glassplate.flows.report.progress import open_display

    with open_display(progress) as display:
        display.report(kind, said.text(), dataclasses.asdict(said))


def serve(
    job: options.JobFile,
    cron: Annotated[
        str | None,
        typer.Option("--cron", metavar='"M H DOM MON DOW"', help="When, such as 0 2 * * *."),
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(
            "--interval", metavar="SECONDS", help="Seconds between the starts of two runs."
        ),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="Whenever images have arrived or changed; alone, or beside a schedule."
        ),
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", help="Name of the service in Prefect. Default: the name of the job file."
        ),
    ] = None,
    overlap: Annotated[
        Literal["queue", "skip"],
        typer.Option(
            "--overlap",
            help="What becomes of a run that is due while another one is under way: it begins after that "
            "one, or not at all.",
        ),
    ] = "queue",
) -> None:
    """Restore the images of a job on a schedule, or as they arrive.

    The command runs until Ctrl-C or SIGTERM. Each run searches for the inputs anew and skips finished
    results. Runs never overlap. The command uses the Prefect server of PREFECT_API_URL, or starts one.
    """
    from glassplate.flows.jobs.images import check_recipes, find_images, refuse_faulty_job
    from glassplate.flows.jobs.job import read_job
    from glassplate.flows.jobs.serving.schedule import Timetable, serve_job

    timetable = Timetable(cron, interval, watch)
    parsed = read_job(job)
    found = find_images(parsed)
    refuse_faulty_job(found)
    check_recipes(found.images)
    try:
        serve_job(
            parsed,
            timetable,
            name or job.stem,
            overlap,
            lambda line: print(line, file=sys.stderr, flush=True),
        )
    except KeyboardInterrupt:
        if (cause := stop_cause()) is not None:
            raise cause from None
        # a service ends normally by a signal; the next run resumes what a run has not finished
        print("glassplate: stopped", file=sys.stderr)
