"""A bulk job on a schedule: serve the flow from this process until it is told to stop."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glassplate.flows.jobs.job import Job
from glassplate.flows.processes.presence import announce_service
from glassplate.flows.processes.signals import stopped_because
from glassplate.flows.processes.supervision import kill_descendants
from glassplate.flows.report.text import duration, one_line, plural
from glassplate.flows.server import settings as embedded
from glassplate.flows.server.server import prefect_api
from glassplate.pipeline.errors import UsageError

if TYPE_CHECKING:
    from prefect.runner import Runner

# Runs of one served job never overlap: the second would find every store locked by the first.
RUNS_AT_ONCE = 1

# A run that cannot even begin is told by Prefect alone; the rest is said by the run itself.
SERVED_LEVEL = "ERROR"

# Seconds that runs under way may take to end by themselves when told to stop; what is left of them then is
# ended with the command (supervision.GRACE_S).
STOP_S = 4.0

# Seconds to wait for the name of a service that is just ending.
NAME_S = 5.0


@dataclass(frozen=True)
class Timetable:
    """When a job runs: by cron or by an interval, never both."""

    cron: str | None
    interval_s: float | None

    def __post_init__(self) -> None:
        if (self.cron is None) == (self.interval_s is None):
            raise UsageError('a schedule is either --cron "0 2 * * *" or --interval SECONDS')
        if self.interval_s is not None and self.interval_s < 1:
            raise UsageError(f"--interval {self.interval_s:g}: at least 1 second")

    def __str__(self) -> str:
        if self.interval_s is not None:
            return f"every {duration(self.interval_s)}"
        return f'by cron "{self.cron}"'


def serve_job(job: Job, timetable: Timetable, name: str, say: Callable[[str], None]) -> None:
    """Serve a job until this thread is interrupted; runs under way are then ended, resumable.

    Parameters
    ----------
    job
        What each run does.
    timetable
        When.
    name
        Of the deployment in Prefect; serving again under this name replaces its schedule.
    say
        Told a line when the schedule stands.

    Raises
    ------
    UsageError
        If the cron expression is wrong, or the name taken by another service on this machine.
    GlassplateError
        If Prefect's server does not start.
    KeyboardInterrupt
        When told to stop; all is stopped by then.
    """
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", SERVED_LEVEL)
    given = os.environ.get("PREFECT_API_URL")
    announce_service()
    with _name_held(name, given or ""), prefect_api(services=True) as ready:
        from glassplate.flows.jobs.crashed import mark_crashed
        from glassplate.flows.jobs.flow import restore_images

        _check_cron(timetable)
        url = ready()
        if (dead := mark_crashed(f"{restore_images.name}/{name}")) > 0:
            say(f"{plural(dead, 'run')} of an earlier service marked as crashed; this one goes on")
        runner = _runner(job, timetable, name)
        pages = url if given else url.removesuffix("/api")
        say(f"serving {restore_images.name}/{name} {timetable}; Prefect: {pages}; Ctrl-C ends it")
        _run_until_interrupted(runner)


def _check_cron(timetable: Timetable) -> None:
    from prefect.client.schemas.schedules import CronSchedule

    try:
        if timetable.cron is not None:
            CronSchedule(cron=timetable.cron)
    except ValueError as error:
        raise UsageError(f"--cron {timetable.cron}: {_fault(error)}") from error


def _runner(job: Job, timetable: Timetable, name: str) -> Runner:
    """What starts the runs of the job at their times."""
    from prefect.runner import Runner
    from prefect.types.entrypoint import EntrypointType

    from glassplate.flows.jobs.flow import restore_images

    runner = Runner(name=name, limit=RUNS_AT_ONCE, pause_on_shutdown=True)
    runner.add_flow(
        restore_images,
        name=name,
        cron=timetable.cron,
        interval=timetable.interval_s,
        # only what the job says itself: what an input leaves out, it takes from the job
        parameters={
            "job": job.model_dump(mode="json", exclude_unset=True),
            "progress": "plain",
        },
        tags=list(job.tags),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    return runner


def _run_until_interrupted(runner: Runner) -> None:
    """Run the runner in a thread of its own: it installs no signal handlers there, ours stay."""
    loop: Future[asyncio.AbstractEventLoop] = Future()
    outcome: Future[None] = Future()

    async def go() -> None:
        loop.set_result(asyncio.get_running_loop())
        await runner.start()

    def run() -> None:
        try:
            asyncio.run(go())
        except BaseException as error:  # handed on to the thread that waits
            outcome.set_exception(error)
        else:
            outcome.set_result(None)

    thread = threading.Thread(target=run, name="prefect-runner", daemon=True)
    thread.start()
    try:
        outcome.result()
    except KeyboardInterrupt:
        if stopped_because() is not None:
            kill_descendants()  # without the server a run can tell nobody how it ends
        elif not outcome.done():
            # RuntimeError: it has not even started
            with suppress(TimeoutError, RuntimeError):
                asyncio.run_coroutine_threadsafe(runner.astop(), loop.result(STOP_S)).result(STOP_S)
        raise


@contextmanager
def _name_held(name: str, server: str) -> Iterator[None]:
    """Keep a second service off the name: it would take the runs of the first for those of a dead one."""
    digest = hashlib.sha256(f"{server} {name}".encode()).hexdigest()[:16]
    embedded.prepare()
    with (embedded.made_home() / f"serve-{digest}.lock").open("w") as lock:
        until = time.monotonic() + NAME_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > until:
                    raise UsageError(
                        f"--name {name}: another service on this machine has this name; end it or "
                        "choose another --name"
                    ) from error
                time.sleep(0.2)
        yield


def _fault(error: ValueError) -> str:
    """First fault of a validation, on one line."""
    faults: Any = getattr(error, "errors", list)()
    return str(faults[0]["msg"]).removeprefix("Value error, ") if faults else one_line(error)
