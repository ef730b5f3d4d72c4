"""A bulk job as a Prefect flow: one flow run for the job, one task for each image, one pool for all.

Prefect is for images: a task run costs it about 35 ms and 30 kB. Tiles go to the pool.

No postponed annotations in this module: Prefect reads those of the flow, and where it loads the flow
for a scheduled run it cannot look the names up.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from glassplate.flows.server import settings as embedded

embedded.prepare()  # Prefect reads its settings when it is imported

from prefect import flow, get_run_logger, tags, task  # noqa: E402
from prefect.artifacts import create_markdown_artifact  # noqa: E402
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.runtime import flow_run  # noqa: E402
from prefect.states import Completed, Failed, State  # noqa: E402
from prefect.task_runners import ThreadPoolTaskRunner  # noqa: E402
from prefect.utilities.annotations import quote  # noqa: E402

from glassplate.flows.jobs.images import Found, Image, default_recipe, find_images  # noqa: E402
from glassplate.flows.jobs.job import Job  # noqa: E402
from glassplate.flows.jobs.lazy_pool import StandbyPool  # noqa: E402
from glassplate.flows.jobs.sequence import Chain  # noqa: E402
from glassplate.flows.processes.presence import end_with_service  # noqa: E402
from glassplate.flows.processes.signals import asked_to_stop, interrupts_kept  # noqa: E402
from glassplate.flows.report.progress import Display, Kind, open_display, started  # noqa: E402
from glassplate.flows.report.reports import ImageReport, JobReport  # noqa: E402
from glassplate.flows.report.text import one_line, printable, reason  # noqa: E402
from glassplate.pipeline.errors import GlassplateError, UsageError  # noqa: E402
from glassplate.pipeline.events import (  # noqa: E402
    Event,
    Listener,
    RunEnded,
    RunStarted,
    StageStarted,
    Warned,
)
from glassplate.pipeline.export.export import check_target, is_export  # noqa: E402
from glassplate.pipeline.pool import Pool  # noqa: E402
from glassplate.pipeline.run.restore import RestoreRequest, restore  # noqa: E402
from glassplate.pipeline.sources.file_format import sniff_format  # noqa: E402


@dataclass(frozen=True)
class Shared:
    """What all images of a job share while it runs; it never leaves the process."""

    job: Job
    pool: Pool
    display: Display
    stop: threading.Event
    """Set once the job is to end early."""
    context: dict[str, str]
    """For the manifests: which flow run made them."""
    chain: Chain | None = None
    """Of a sequence, which the images then do one after the other."""


# mypy does not follow Prefect (pyproject.toml), so its decorators have no types
@flow(name="glassplate-bulk", flow_run_name="{job.name}", retries=0)  # type: ignore[untyped-decorator]
def restore_images(job: Job, progress: Kind = "none") -> State[Any]:
    """Restore every image of a job; those that are done are skipped, bad ones are quarantined.

    Parameters
    ----------
    job
        What to do; its inputs are looked for anew in each run.
    progress
        How to show it on this process's terminal.

    Returns
    -------
    state
        Completed, or Failed where no image could be restored; its data is `JobReport.facts`, or the
        error where the job as a whole cannot be done.
    """
    end_with_service()
    begun = time.monotonic()
    with open_display(progress) as display:
        try:
            with interrupts_kept():
                found = find_images(job)
                reports = _restore_all(job, found, display) if found.images else []
        except (
            GlassplateError
        ) as error:  # said in one line here; raised, Prefect would log its stack
            display.say("Error", one_line(error), {"message": one_line(error)})
            return Failed(message=one_line(error), data=error)
        left_out = tuple(printable(str(path)) for path in found.left_out)
        report = JobReport(tuple(reports), time.monotonic() - begun, left_out)
        display.say("JobReport", report.text(), report.facts())
    create_markdown_artifact(
        key="glassplate-bulk", markdown=report.markdown(), description=report.headline()
    )
    end = Failed if report.exit_code == 1 else Completed
    return end(message=report.headline(), data=report.facts())


@task(  # type: ignore[untyped-decorator]
    name="restore-image", task_run_name="{name}", cache_policy=NO_CACHE, retries=0
)
def restore_image(name: str, image: Image, shared: Shared) -> State[Any]:
    """Restore one image of a job; a fault of it is its own.

    Of a sequence it starts from the donor of the last good one before it, where that fits.

    Returns
    -------
    state
        Completed, or Failed where the image is quarantined; its data is `ImageReport.facts`.
    """
    begun = time.monotonic()
    try:
        with _listening(name, image, shared) as listener:
            request = _request(image, shared)
            if is_export(image.spec.path):
                listener(Warned(image.store, "the input is an export of glassplate"))
            result = restore(request, shared.pool, listener)
            report = ImageReport.of(image.spec.path, result, image.part)
            if shared.chain is not None:
                shared.chain.add(image.store)
    except Exception as error:  # whatever is wrong with one image, the others are to be restored
        if shared.stop.is_set() or asked_to_stop():
            raise KeyboardInterrupt from error
        # whole only in Prefect's log; the terminal gets the line
        get_run_logger().warning("%s is quarantined", name, exc_info=True)
        report = ImageReport(
            source=printable(str(image.spec.path)),
            store=printable(str(image.store)),
            part=printable(image.part),
            status="quarantined",
            reason=reason(error),
            seconds=time.monotonic() - begun,
        )
        shared.display(Warned(image.store, f"quarantined: {report.reason}"))
        return Failed(message=report.reason, data=report.facts())
    finally:
        shared.display.drop(image.store)
    return Completed(message=report.text().splitlines()[0], data=report.facts())


def run_job(job: Job, progress: Kind) -> JobReport:
    """Run the flow in this process.

    Raises
    ------
    GlassplateError
        If the job as a whole cannot be done: its pool cannot be opened, an input is a folder.
    """
    with tags(*job.tags):
        state = restore_images(job, progress=progress, return_state=True)
    facts = state.result(raise_on_failure=False)
    if isinstance(facts, BaseException):
        raise facts
    return JobReport.from_facts(facts)


def _restore_all(job: Job, found: Found, display: Display) -> list[ImageReport]:
    images = found.images
    context = {"prefect_flow_run_id": str(flow_run.id or ""), "job": job.name}
    stop = threading.Event()
    standby = StandbyPool(job.pool, workers=job.workers, device=job.device, images=len(images))
    # the pool is closed before the threads are joined: an interrupted run then waits for no fit
    # the frames of a sequence in their order, so that each finds the donor of the one before it
    at_once = 1 if job.sequence else min(len(images), standby.workers)
    with (
        ThreadPoolTaskRunner(max_workers=at_once) as runner,
        standby as pool,
    ):
        chain = Chain() if job.sequence else None
        shared = Shared(job, pool, display, stop, context, chain)
        futures = [
            runner.submit(
                restore_image,
                {"name": printable(image.label), "image": quote(image), "shared": quote(shared)},
            )
            for image in images
        ]
        try:
            states = [future.wait() or future.state for future in futures]
        except BaseException:  # Ctrl-C, a signal, or a cancellation from Prefect
            stop.set()
            raise
    return [_report(state) for state in states]


def _request(image: Image, shared: Shared) -> RestoreRequest:
    if image.fault:
        raise UsageError(image.fault)
    is_fits = sniff_format(image.spec.path) == "fits"
    recipe_name, recipe = image.load(default_recipe(image.spec.path))
    export = image.export_path(is_fits=is_fits)
    if export is not None:
        export.parent.mkdir(parents=True, exist_ok=True)
        check_target(export)
    return RestoreRequest(
        spec=image.spec,
        store=image.store,
        recipe=recipe,
        recipe_name=recipe_name,
        device=shared.job.device,
        export=export,
        keep_scratch=shared.job.keep_scratch,
        context=shared.context,
        donor=image.donor if shared.chain is None else shared.chain.donor_for(image, recipe),
    )


def _report(state: State[Any]) -> ImageReport:
    facts = state.result(raise_on_failure=False)
    if isinstance(facts, BaseException):
        raise facts
    return ImageReport(**{**facts, "exports": tuple(facts["exports"])})


@contextmanager
def _listening(name: str, image: Image, shared: Shared) -> Iterator[Listener]:
    """Pass events on to the display, a few of them to Prefect's log, and end the run when told to."""
    log = get_run_logger()
    thread = threading.get_ident()

    def listen(event: Event) -> None:
        """Raise where the run must end, log the milestones, show everything."""
        # only in the thread of this run: events of the pool's workers come in on another
        if shared.stop.is_set() and threading.get_ident() == thread:
            raise KeyboardInterrupt
        match event:
            case RunStarted():
                log.info("%s: %s", name, started(event))
            case StageStarted():
                log.info("%s: %s", name, event.stage)
            case Warned():
                log.warning("%s: %s", name, printable(event.message))
            case RunEnded():
                log.info("%s: %s in %.1f s", name, event.status, event.seconds)
            case _:
                pass
        shared.display(event)

    yield listen
