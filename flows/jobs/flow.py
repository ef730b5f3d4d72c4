"""A bulk job as a Prefect flow: one flow run for the job, one task run for each image, one pool for all.

Prefect records images and not tiles, because a task run costs it about 35 ms and 30 kB. Tiles go to the pool.

This module has no postponed annotations. Prefect reads those of the flow, and could not resolve the names
where it loads the flow for a scheduled run.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from glassplate.flows.server.settings import apply_settings

apply_settings()  # Prefect reads its settings when it is imported

from prefect import flow, get_run_logger, tags, task  # noqa: E402
from prefect.artifacts import create_markdown_artifact  # noqa: E402
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.runtime import flow_run  # noqa: E402
from prefect.states import Completed, Failed, State  # noqa: E402
from prefect.task_runners import ThreadPoolTaskRunner  # noqa: E402
from prefect.utilities.annotations import quote  # noqa: E402

from glassplate.flows.jobs.images import FoundImages, Image, default_recipe, find_images  # noqa: E402
from glassplate.flows.jobs.job import Job  # noqa: E402
from glassplate.flows.jobs.joint_exports import JointExports  # noqa: E402
from glassplate.flows.jobs.lazy_pool import LazyPool  # noqa: E402
from glassplate.flows.jobs.sequence import DonorSequence  # noqa: E402
from glassplate.flows.processes.liveness import end_with_service  # noqa: E402
from glassplate.flows.processes.signals import sigterm_interrupts, stop_requested  # noqa: E402
from glassplate.flows.report.progress import (  # noqa: E402
    Display,
    ProgressKind,
    open_display,
    start_text,
)
from glassplate.flows.report.reports import ImageReport, JobReport  # noqa: E402
from glassplate.flows.report.text import reason  # noqa: E402
from glassplate.pipeline.errors import GlassplateError, UsageError  # noqa: E402
from glassplate.pipeline.events import (  # noqa: E402
    Event,
    Listener,
    Noted,
    RunEnded,
    RunStarted,
    StageStarted,
    Warned,
)
from glassplate.pipeline.export.export import check_target  # noqa: E402
from glassplate.pipeline.export.own_files import is_export  # noqa: E402
from glassplate.pipeline.pools.pool import Pool  # noqa: E402
from glassplate.pipeline.run.restore import RestoreRequest, restore  # noqa: E402
from glassplate.pipeline.sources.file_format import holds_measurements  # noqa: E402
from glassplate.pipeline.text import one_line, printable  # noqa: E402


@dataclass(frozen=True)
class JobRun:
    """What the images of one run of a job share; it stays within this process."""

    job: Job
    pool: Pool
    display: Display
    stop: threading.Event
    """Set when the run must end early."""
    context: dict[str, str]
    """Written to the manifests: the flow run and the job."""
    joint_exports: JointExports
    donors: DonorSequence | None = None
    """Of a sequence, whose images are restored one after the other."""


# mypy does not follow Prefect (pyproject.toml), so its decorators have no types
@flow(name="glassplate-bulk", flow_run_name="{job.name}", retries=0)  # type: ignore[untyped-decorator]
def restore_images(job: Job, progress: ProgressKind = "none") -> State[Any]:
    """Restore every image of a job; skip finished results and quarantine bad images.

    Parameters
    ----------
    job
        The job. Each run searches for its inputs anew.
    progress
        How this process's terminal shows progress.

    Returns
    -------
    state
        Completed, or Failed if no image could be restored. Its data is a `JobReport`, or the error for
        which the whole job failed.
    """
    end_with_service()
    start = time.monotonic()
    with open_display(progress) as display:
        try:
            with sigterm_interrupts():
                found = find_images(job)
                reports = _restore_all(job, found, display) if found.images else []
        except (
            GlassplateError
        ) as error:  # one line here; Prefect would log the stack if it were raised
            display.report("Error", one_line(error), {"message": one_line(error)})
            return Failed(message=one_line(error), data=error)
        left_out, companions = (
            tuple(printable(str(path)) for path in paths)
            for paths in (found.left_out, found.companions)
        )
        report = JobReport(tuple(reports), time.monotonic() - start, left_out, companions)
        display.report("JobReport", report.text(), asdict(report))
    create_markdown_artifact(
        key="glassplate-bulk", markdown=report.markdown(), description=report.headline()
    )
    end = Failed if report.exit_code == 1 else Completed
    return end(message=report.headline(), data=report)


@task(  # type: ignore[untyped-decorator]
    name="restore-image", task_run_name="{name}", cache_policy=NO_CACHE, retries=0
)
def restore_image(name: str, image: Image, run: JobRun) -> State[Any]:
    """Restore one image of a job; an error quarantines this image alone.

    Returns
    -------
    state
        Completed, or Failed if the image is quarantined; its data is an `ImageReport`.
    """
    start = time.monotonic()
    try:
        with _listener(name, image, run) as listener:
            report = _restored(image, run, listener)
    except Exception as error:  # whatever is wrong with one image, the others can be restored
        if run.stop.is_set() or stop_requested():
            raise KeyboardInterrupt from error
        # Prefect's log gets the traceback, the terminal one line
        get_run_logger().warning("%s is quarantined", name, exc_info=True)
        report = ImageReport(
            source=printable(str(image.spec.path)),
            store=printable(str(image.store)),
            part=printable(image.part),
            status="quarantined",
            reason=reason(error),
            seconds=time.monotonic() - start,
        )
        run.display(Warned(image.store, f"quarantined: {report.reason}"))
        return Failed(message=report.reason, data=report)
    finally:
        run.display.forget(image.store)
    return Completed(message=report.text().splitlines()[0], data=report)


def run_job(job: Job, progress: ProgressKind) -> JobReport:
    """Run the flow in this process.

    Raises
    ------
    GlassplateError
        If the whole job fails, for example because its pool cannot be opened or an input is a folder.
    """
    with tags(*job.tags):
        state = restore_images(job, progress=progress, return_state=True)
    report: JobReport = _data(state)
    return report


def _restore_all(job: Job, found: FoundImages, display: Display) -> list[ImageReport]:
    images = found.images
    context = {"prefect_flow_run_id": str(flow_run.id or ""), "job": job.name}
    stop = threading.Event()
    lazy_pool = LazyPool(job.pool, workers=job.workers, device=job.device, images=len(images))
    # frames of a sequence are restored in their order, so that each finds the donor of the one before it
    threads = 1 if job.sequence else min(len(images), lazy_pool.workers)
    # the pool closes before the threads are joined, so that an interrupted run waits for no fit
    with ThreadPoolTaskRunner(max_workers=threads) as runner, lazy_pool as pool:
        donors = DonorSequence() if job.sequence else None
        run = JobRun(job, pool, display, stop, context, JointExports(images), donors)
        futures = [
            runner.submit(
                restore_image,
                {"name": printable(image.label), "image": quote(image), "run": quote(run)},
            )
            for image in images
        ]
        try:
            states = [future.wait() or future.state for future in futures]
        except BaseException:  # Ctrl-C, a signal, or a cancellation from Prefect
            stop.set()
            raise
    return [_data(state) for state in states]


def _restored(image: Image, run: JobRun, listener: Listener) -> ImageReport:
    """Restore one image, and write the joint export of its file if it is the last of it."""
    try:
        request = _request(image, run)
        if is_export(image.spec.path):
            listener(Warned(image.store, "the input is an export of glassplate"))
        result = restore(request, run.pool, listener)
        report = ImageReport.from_result(image.spec.path, result, image.part)
        if run.donors is not None:
            run.donors.add(image.store)
    except Exception:
        if not (run.stop.is_set() or stop_requested()):
            run.joint_exports.image_ended(image, listener, restored=False)
        raise
    exported = run.joint_exports.image_ended(image, listener, restored=True)
    return report if exported is None else replace(report, exports=(printable(str(exported)),))


def _request(image: Image, run: JobRun) -> RestoreRequest:
    if image.fault:
        raise UsageError(image.fault)
    is_fits = holds_measurements(image.spec.path)
    recipe_name, recipe = image.load_recipe(default_recipe(image.spec.path))
    export = image.export_path(is_fits=is_fits)
    target = export or image.joint
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        check_target(target)
    return RestoreRequest(
        spec=image.spec,
        store=image.store,
        recipe=recipe,
        recipe_name=recipe_name,
        device=run.job.device,
        export=export,
        keep_scratch=run.job.keep_scratch,
        context=run.context,
        donor=image.donor if run.donors is None else run.donors.donor_for(image, recipe),
    )


def _data(state: State[Any]) -> Any:
    """Return the data of a state; raise it if it is an exception."""
    data = state.result(raise_on_failure=False)
    if isinstance(data, BaseException):
        raise data
    return data


@contextmanager
def _listener(name: str, image: Image, run: JobRun) -> Iterator[Listener]:
    """Make a listener that shows every event, logs the milestones to Prefect, and ends a stopped run."""
    log = get_run_logger()
    thread = threading.get_ident()

    def listen(event: Event) -> None:
        # events from workers of the pool arrive in another thread, which must not be ended
        if run.stop.is_set() and threading.get_ident() == thread:
            raise KeyboardInterrupt
        match event:
            case RunStarted():
                log.info("%s: %s", name, start_text(event))
            case StageStarted():
                log.info("%s: %s", name, event.stage)
            case Warned():
                log.warning("%s: %s", name, printable(event.message))
            case Noted():
                log.info("%s: %s", name, printable(event.message))
            case RunEnded():
                log.info("%s: %s in %.1f s", name, event.status, event.seconds)
            case _:
                pass
        run.display(event)

    yield listen
