"""Serve a bulk job on a schedule or as its images arrive, from this process, until it is stopped."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glassplate.flows.jobs.job import Job
from glassplate.flows.processes.liveness import announce_service
from glassplate.flows.processes.signals import stop_cause
from glassplate.flows.processes.supervision import kill_descendants
from glassplate.flows.report.text import duration, plural
from glassplate.flows.server.server import prefect_api
from glassplate.flows.server.settings import apply_settings, make_home
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.text import one_line, without_secrets

if TYPE_CHECKING:
    from prefect.runner import Runner

# Runs of one served job never overlap, because the second would find every result locked by the first.
MOST_RUNS = 1

# Level of Prefect's console log. Only Prefect reports a run that cannot start; a run reports the rest itself.
CONSOLE_LEVEL = "ERROR"

# Seconds that unfinished runs may take to stop. The supervisor kills what remains of them with the command
# (supervision.GRACE_S).
STOP_S = 4.0

# Seconds to wait for the name of a service that is ending.
NAME_S = 5.0


@dataclass(frozen=True)
class Timetable:
    """When a job runs: by a cron expression or by an interval, and when its inputs change."""

    cron: str | None
    interval_s: float | None
    watch: bool = False

    def __post_init__(self) -> None:
        given = (self.cron is not None) + (self.interval_s is not None)
        if given > 1 or not (given or self.watch):
            raise UsageError(
                'a schedule is either --cron "0 2 * * *" or --interval SECONDS; --watch alone or beside one'
            )
        if self.interval_s is not None and self.interval_s < 1:
            raise UsageError(f"--interval {self.interval_s:g}: at least 1 second")

    def __str__(self) -> str:
        times = ["when images arrive"] if self.watch else []
        if self.interval_s is not None:
            times.append(f"every {duration(self.interval_s)}")
        if self.cron is not None:
            times.append(f'by cron "{self.cron}"')
        return " and ".join(times)


def serve_job(
    job: Job, timetable: Timetable, name: str, overlap: str, say: Callable[[str], None]
) -> None:
    """Serve a job until this thread is interrupted. Unfinished runs are then stopped; the next run resumes.

    Parameters
    ----------
    job
        The job of each run.
    timetable
        When the job runs.
    name
        Name of the deployment in Prefect. Serving the same name again replaces its schedule.
    overlap
        What becomes of runs that are due while another one is under way: "queue" or "skip".
    say
        Called with each line that tells the user what is served.

    Raises
    ------
    UsageError
        If the cron expression is invalid, or another service on this machine has the name.
    GlassplateError
        If Prefect's server does not start.
    KeyboardInterrupt
        When this process is asked to stop, after everything is stopped.
    """
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", CONSOLE_LEVEL)
    given = os.environ.get("PREFECT_API_URL")
    announce_service()
    with _held_name(name, given or ""), prefect_api(services=True) as wait_for_api:
        _check_cron(timetable)  # first, since the imports below take seconds
        from glassplate.flows.jobs.flow import restore_images
        from glassplate.flows.jobs.serving.earlier_runs import drop_outdated, mark_crashed

        url = wait_for_api()
        deployment = f"{restore_images.name}/{name}"
        if (crashed := mark_crashed(deployment)) > 0:
            say(
                f"{plural(crashed, 'run')} of an earlier service marked as crashed; this one goes on"
            )
        parameters = _parameters(job, overlap)
        runner = _runner(parameters, timetable, name, job.tags)
        if (outdated := drop_outdated(deployment, parameters)) > 0:
            say(
                f"{plural(outdated, 'run')} that an earlier service had planned for another job dropped"
            )
        pages = without_secrets(url if given else url.removesuffix("/api"))
        say(f"serving {deployment} {timetable}; Prefect: {pages}; Ctrl-C ends it")
        with _watched(job, deployment, say) if timetable.watch else nullcontext():
            _run_until_interrupted(runner)


@contextmanager
def _watched(job: Job, deployment: str, say: Callable[[str], None]) -> Iterator[None]:
    """Watch the inputs of a job from another thread."""
    from glassplate.flows.jobs.serving.watch import watch

    stop = threading.Event()
    threading.Thread(
        target=watch, args=(job, deployment, say, stop), name="watch", daemon=True
    ).start()
    try:
        yield
    finally:
        stop.set()


def _check_cron(timetable: Timetable) -> None:
    if timetable.cron is None:
        return
    from prefect.client.schemas.schedules import CronSchedule

    try:
        CronSchedule(cron=timetable.cron)
    except ValueError as error:
        raise UsageError(f"--cron {timetable.cron}: {_first_error(error)}") from error


def _parameters(job: Job, overlap: str) -> dict[str, Any]:
    """Make the parameters of each run, as JSON."""
    # without unset values, since an input takes what it does not give from the job
    return {
        "job": job.model_dump(mode="json", exclude_unset=True),
        "progress": "plain",
        "overlap": overlap,
    }


def _runner(
    parameters: dict[str, Any], timetable: Timetable, name: str, tags: Sequence[str]
) -> Runner:
    """Make the runner, which starts the runs of the job at their times."""
    from prefect.runner import Runner
    from prefect.types.entrypoint import EntrypointType

    from glassplate.flows.jobs.flow import restore_images

    runner = Runner(name=name, limit=MOST_RUNS, pause_on_shutdown=True)
    runner.add_flow(
        restore_images,
        name=name,
        cron=timetable.cron,
        interval=timetable.interval_s,
        parameters=parameters,
        tags=list(tags),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    return runner


def _run_until_interrupted(runner: Runner) -> None:
    """Run the runner in a thread of its own, where it cannot replace this process's signal handlers."""
    loop: Future[asyncio.AbstractEventLoop] = Future()
    outcome: Future[None] = Future()

    async def go() -> None:
        loop.set_result(asyncio.get_running_loop())
        await runner.start()

    def run() -> None:
        try:
            asyncio.run(go())
        except BaseException as error:  # passed on to the waiting thread
            outcome.set_exception(error)
        else:
            outcome.set_result(None)

    thread = threading.Thread(target=run, name="prefect-runner", daemon=True)
    thread.start()
    try:
        outcome.result()
    except KeyboardInterrupt:
        if stop_cause() is not None:
            kill_descendants()  # the server is lost, and the runs cannot report their end to it
        elif not outcome.done():
            # RuntimeError: the runner has not started yet
            with suppress(TimeoutError, RuntimeError):
                asyncio.run_coroutine_threadsafe(runner.astop(), loop.result(STOP_S)).result(STOP_S)
        raise


@contextmanager
def _held_name(name: str, server: str) -> Iterator[None]:
    """Hold the name of a service, since a second one of that name would mark runs of this one as crashed."""
    digest = hashlib.sha256(f"{server} {name}".encode()).hexdigest()[:16]
    apply_settings()
    with (make_home() / f"serve-{digest}.lock").open("w") as lock:
        deadline = time.monotonic() + NAME_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise UsageError(
                        f"--name {name}: another service on this machine has this name; end it or "
                        "choose another --name"
                    ) from error
                time.sleep(0.2)
        yield


def _first_error(error: ValueError) -> str:
    """The first error of a validation, on one line."""
    errors: Any = getattr(error, "errors", list)()
    return str(errors[0]["msg"]).removeprefix("Value error, ") if errors else one_line(error)
