"""A bulk job as a Prefect flow: one flow run for the job, one task run for each image that is worked on.

Prefect records images and not tiles, because a task run costs it about 35 ms and 30 kB. Tiles go to the pool.
An image on which nothing is to be done costs no task run.

This module has no postponed annotations. Prefect reads those of the flow, and could not resolve the names
where it loads the flow for a scheduled run.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from glassplate.flows.server.settings import apply_settings

apply_settings()  # Prefect reads its settings when it is imported

from prefect import flow, get_run_logger, tags, task  # noqa: E402
from prefect.artifacts import create_markdown_artifact  # noqa: E402
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.runtime import flow_run  # noqa: E402
from prefect.states import Cancelled, Completed, Failed, State  # noqa: E402
from prefect.utilities.annotations import quote  # noqa: E402

from glassplate.flows.accounts.account import Account  # noqa: E402
from glassplate.flows.jobs.buckets.bucket import BucketUrl  # noqa: E402
from glassplate.flows.jobs.buckets.inputs import with_copies  # noqa: E402
from glassplate.flows.jobs.buckets.results import Uploads  # noqa: E402
from glassplate.flows.jobs.images import FoundImages, find_images  # noqa: E402
from glassplate.flows.jobs.job import Job  # noqa: E402
from glassplate.flows.jobs.lazy_pool import LazyPool  # noqa: E402
from glassplate.flows.jobs.running.asked import forget_recipes  # noqa: E402
from glassplate.flows.jobs.running.budget import Budget  # noqa: E402
from glassplate.flows.jobs.running.job_run import JobRun  # noqa: E402
from glassplate.flows.jobs.running.known import known_facts  # noqa: E402
from glassplate.flows.jobs.running.outcomes import Look, Outcome, failed  # noqa: E402
from glassplate.flows.jobs.running.pages import JobPage  # noqa: E402
from glassplate.flows.jobs.running.run_images import Restore, run_images  # noqa: E402
from glassplate.flows.jobs.running.settled import RunFacts  # noqa: E402
from glassplate.flows.jobs.running.verdicts import verdict_of  # noqa: E402
from glassplate.flows.jobs.sequence import DonorSequence  # noqa: E402
from glassplate.flows.jobs.serving.earlier_runs import SKIPPED, was_under_way  # noqa: E402
from glassplate.flows.processes.liveness import end_with_service  # noqa: E402
from glassplate.flows.processes.signals import sigterm_interrupts, stop_requested  # noqa: E402
from glassplate.flows.report.job_log import JobLog, log_path, open_log  # noqa: E402
from glassplate.flows.report.job_report import JobReport  # noqa: E402
from glassplate.flows.report.progress import (  # noqa: E402
    Display,
    open_display,
    start_text,
)
from glassplate.flows.report.progress_kind import ProgressKind  # noqa: E402
from glassplate.flows.report.reports import ImageReport  # noqa: E402
from glassplate.pipeline.errors import GlassplateError  # noqa: E402
from glassplate.pipeline.events import (  # noqa: E402
    Event,
    FitProgress,
    Listener,
    Noted,
    RunEnded,
    RunStarted,
    StageAdvanced,
    TileDone,
    Warned,
)
from glassplate.pipeline.text import one_line, printable  # noqa: E402

Overlap: TypeAlias = Literal["queue", "skip"]

# Name of the state of a run that leaves images out: Prefect makes events of it, prefect.flow-run.Partial, on
# which an automation can act. Its type is COMPLETED, since what could be done is done.
PARTIAL = "Partial"


def run_name() -> str:
    """Name of a flow run: the job and the time at which it starts."""
    # of a scheduled run they are still as Prefect's database has them
    name = Job.model_validate(flow_run.parameters["job"]).name
    return f"{name} {datetime.now().astimezone():%Y-%m-%d %H:%M:%S}"


# mypy does not follow Prefect (pyproject.toml), so its decorators have no types
@flow(name="glassplate-bulk", flow_run_name=run_name, retries=0)  # type: ignore[untyped-decorator]
def restore_images(
    job: Job,
    progress: ProgressKind = "none",
    retry_failed: bool = False,
    overlap: Overlap = "queue",
) -> State[Any]:
    """Restore every image of a job; skip finished results and quarantine bad images.

    Parameters
    ----------
    job
        The job. Each run searches for its inputs anew.
    progress
        How this process's terminal shows progress.
    retry_failed
        Whether to try images with a lasting failure again.
    overlap
        What a scheduled run does that was due while the one before it was still under way.

    Returns
    -------
    state
        Completed; Partial, of the type of Completed, if some images are quarantined or pending; Failed if no
        image could be restored. Its data is a `JobReport`, or the error for which the whole job failed.
    """
    end_with_service()
    if overlap == "skip" and (why := was_under_way()):
        return Cancelled(name=SKIPPED, message=f"skipped: {why}")
    forget_recipes()
    start = time.monotonic()
    run_id = str(flow_run.id or "")
    path = log_path(job.output, job.name)
    with open_display(progress) as display, open_log(path, job.log, job.log_level, run_id) as log:
        try:
            with sigterm_interrupts():
                account = Account(job.output)
                job = with_copies(job, lambda line: log.write(logging.INFO, line))
                found = find_images(job, known_facts(account))
                facts = RunFacts(job, run_id, retry_failed)
                reports, page = _run(facts, found, account, display, log)
        except (
            GlassplateError
        ) as error:  # one line here; Prefect would log the stack if it were raised
            display.report("Error", one_line(error), {"message": one_line(error)})
            log.write(logging.ERROR, one_line(error))
            return Failed(message=one_line(error), data=error)
        report = _job_report(reports, found, start, account, log, page)
        display.report("JobReport", report.text(brief=display.is_brief), asdict(report))
        log.write(logging.INFO, f"{report.headline()}; {report.account_line()}")
    create_markdown_artifact(
        key="glassplate-bulk", markdown=report.markdown(), description=report.headline()
    )
    if report.exit_code == 1:
        return Failed(message=report.headline(), data=report)
    name = {"name": PARTIAL} if report.exit_code == 3 else {}
    return Completed(message=report.headline(), data=report, **name)


@task(  # type: ignore[untyped-decorator]
    name="restore-image", task_run_name="{name}", cache_policy=NO_CACHE, retries=0
)
def restore_image(name: str, look: Look, run: JobRun) -> State[Any]:
    """Restore one image of a job; an error quarantines this image alone.

    Returns
    -------
    state
        Completed, or Failed if the image is quarantined or has to be tried again; its data is an `Outcome`.
    """
    from glassplate.flows.jobs.running.work import restore_one  # imports torch

    start = time.monotonic()
    store = look.image.store
    try:
        with _listener(name, look, run) as listener:
            outcome = restore_one(look, run, listener)
    except Exception as error:  # whatever is wrong with one image, the others can be restored
        if run.stop.is_set() or stop_requested():
            raise KeyboardInterrupt from error
        outcome = failed(look, verdict_of(error), time.monotonic() - start)
        report = outcome.report
        # Prefect's log gets the traceback, the terminal one line
        get_run_logger().warning("%s is %s", name, report.status, exc_info=True)
        run.log.write(logging.WARNING, f"{report.status}: {report.reason}", image=name)
        run.display(Warned(store, f"{report.status}: {report.reason}"))
        return Failed(message=report.reason, data=outcome)
    finally:
        run.display.forget(store)
    return Completed(message=outcome.report.text().splitlines()[0], data=outcome)


def run_job(job: Job, progress: ProgressKind, *, retry_failed: bool = False) -> JobReport:
    """Run the flow in this process.

    Raises
    ------
    GlassplateError
        If the whole job fails, for example because its pool cannot be opened or a list cannot be read.
    """
    with tags(*job.tags):
        state = restore_images(job, progress, retry_failed, return_state=True)
    report: JobReport = _data(state)
    return report


def _run(
    facts: RunFacts, found: FoundImages, account: Account, display: Display, log: JobLog
) -> tuple[list[ImageReport], Path | None]:
    """Work through the images of a job; return their reports and the page."""
    job, images, page = facts.job, found.images, JobPage(facts.job.output, log)
    if not images:
        return [], None
    log.write(logging.INFO, f"{job.name}: {len(images)} inputs", run=facts.flow_run)
    pool = LazyPool(job.pool, workers=job.workers, device=job.device, images=len(images))
    run = JobRun(
        facts=facts,
        pool=pool,
        display=display,
        log=log,
        account=account,
        budget=Budget(job.limits, job.output),
        context={"prefect_flow_run_id": facts.flow_run, "job": job.name},
        taken=frozenset(store for image in images for store in image.stores),
        donors=DonorSequence() if job.sequence else None,
        page=page,
    )
    uploads = Uploads(job.output, BucketUrl.parse(job.upload), log) if job.upload else None
    outcomes = run_images(run, images, pool, _in_a_task(run, uploads))
    if uploads is not None:
        uploads.finish([outcome.entry for outcome in outcomes], [account.path])
    return [outcome.report for outcome in outcomes], page.write()


def _in_a_task(run: JobRun, uploads: Uploads | None) -> Restore:
    """Restore images each in a task of Prefect, and upload each when it is done."""

    def restore(look: Look) -> Outcome:
        name = printable(look.image.label)
        state = restore_image(name, quote(look), quote(run), return_state=True)
        outcome: Outcome = _data(state)
        if uploads is not None and look.image.joint is None:  # a joint export is written later
            uploads.add(outcome.entry)
        return outcome

    return restore


def _job_report(
    reports: list[ImageReport],
    found: FoundImages,
    start: float,
    account: Account,
    log: JobLog,
    page: Path | None,
) -> JobReport:
    left_out, companions, others = (
        tuple(printable(str(path)) for path in paths)
        for paths in (found.left_out, found.companions, found.others)
    )
    return JobReport(
        tuple(reports),
        time.monotonic() - start,
        left_out,
        companions,
        others,
        account=printable(str(account.path)) if reports else "",
        log=printable(str(log.path)) if log.path is not None else "",
        page=printable(str(page)) if page is not None else "",
    )


def _data(state: State[Any]) -> Any:
    """Return the data of a state; raise it if it is an exception."""
    data = state.result(raise_on_failure=False)
    if isinstance(data, BaseException):
        raise data
    return data


@contextmanager
def _listener(name: str, look: Look, run: JobRun) -> Iterator[Listener]:
    """Make a listener that shows every event, logs the milestones, and ends a run that is stopped or late."""
    log = get_run_logger()
    thread = threading.get_ident()
    begun_at: float | None = None

    def listen(event: Event) -> None:
        nonlocal begun_at
        # an image whose tiles wait behind those of other images takes no time yet
        if begun_at is None and isinstance(event, FitProgress | TileDone | StageAdvanced):
            begun_at = run.budget.now()
        # events from workers of the pool arrive in another thread, which must not be ended
        if threading.get_ident() == thread:
            if run.stop.is_set():
                raise KeyboardInterrupt
            run.budget.check(run.budget.now() if begun_at is None else begun_at)
        match event:
            case RunStarted():
                log.info("%s: %s", name, start_text(event))
            case Warned():
                log.warning("%s: %s", name, printable(event.message))
            case Noted():
                log.info("%s: %s", name, printable(event.message))
            case RunEnded():
                log.info("%s: %s in %.1f s", name, event.status, event.seconds)
            case _:
                pass
        run.log.event(name, event)
        run.display(event)

    yield listen
