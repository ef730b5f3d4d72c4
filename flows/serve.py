"""A bulk job on a schedule: serve the flow from this process until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glassplate.flows.job import Job
from glassplate.flows.server import prefect_api
from glassplate.flows.wording import duration, one_line
from glassplate.pipeline.errors import UsageError

if TYPE_CHECKING:
    from prefect.runner import Runner

# Runs of one served job never overlap: the second would find every store locked by the first.
RUNS_AT_ONCE = 1

# A run that cannot even begin is told by Prefect alone; the rest is said by the run itself.
SERVED_LEVEL = "ERROR"

# Seconds that a stop may take: a run under way is told, closes its workers, and is then ended.
STOP_S = 60.0


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
        If the cron expression is wrong.
    GlassplateError
        If Prefect's server does not start.
    KeyboardInterrupt
        When told to stop; all is stopped by then.
    """
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", SERVED_LEVEL)
    own_server = not os.environ.get("PREFECT_API_URL")
    with prefect_api(services=True) as ready:
        from prefect.client.schemas.schedules import CronSchedule
        from prefect.runner import Runner
        from prefect.types.entrypoint import EntrypointType

        from glassplate.flows.bulk import restore_images

        try:
            if timetable.cron is not None:
                CronSchedule(cron=timetable.cron)
        except ValueError as error:
            raise UsageError(f"--cron {timetable.cron}: {_fault(error)}") from error
        url = ready()
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
        pages = url.removesuffix("/api") if own_server else url
        say(f"serving {restore_images.name}/{name} {timetable}; Prefect: {pages}; Ctrl-C ends it")
        _run_until_interrupted(runner)


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
        if not outcome.done():
            asyncio.run_coroutine_threadsafe(runner.astop(), loop.result()).result(STOP_S)
            thread.join(STOP_S)
        raise


def _fault(error: ValueError) -> str:
    """First fault of a validation, on one line."""
    faults: Any = getattr(error, "errors", list)()
    return str(faults[0]["msg"]).removeprefix("Value error, ") if faults else one_line(error)
