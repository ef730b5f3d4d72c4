"""Watching the inputs of a served job: a run begins when images have arrived or changed, and are whole."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import httpx

from glassplate.flows.accounts.account import Account
from glassplate.flows.accounts.stamps import FileStamp, own_stamp
from glassplate.flows.jobs.images import find_images
from glassplate.flows.jobs.job import Job
from glassplate.flows.jobs.running.known import known_facts
from glassplate.flows.server.settings import apply_settings
from glassplate.pipeline.errors import GlassplateError
from glassplate.pipeline.text import one_line

apply_settings()  # Prefect reads its settings when it is imported

from prefect.client.orchestration import get_client  # noqa: E402
from prefect.client.schemas.filters import FlowRunFilter  # noqa: E402
from prefect.client.schemas.objects import StateType  # noqa: E402

from glassplate.flows.jobs.serving.earlier_runs import UNFINISHED  # noqa: E402

# Seconds between two looks at the inputs. A file that is the same in both is whole.
POLL_S = 10.0

# Share of the time that the looks may take: one at 10 000 images takes two seconds.
MOST_SHARE = 0.05

States = Mapping[str, FileStamp | None]
"""The files of a job's images with their states; None for one that is missing."""


class Arrivals:
    """Which inputs of a job have changed since its last run began."""

    def __init__(self) -> None:
        self._seen: States = {}
        self._whole: States = {}
        self._begun: States = {}

    def look(self, now: States) -> bool:
        """Whether files are whole that were not, or were others, when the last run began.

        Parameters
        ----------
        now
            The files as they are now. Those that have changed since the last look are still being written.
        """
        self._whole = {
            path: stamp for path, stamp in now.items() if self._seen.get(path, ()) == stamp
        }
        self._seen = now
        return not self._whole.items() <= self._begun.items()

    def run_begins(self) -> None:
        """Take what the last look has seen as what a run works on."""
        self._begun = self._whole


def input_states(job: Job) -> States:
    """The files of all images that a job finds now.

    Raises
    ------
    GlassplateError
        If the inputs cannot be searched for.
    """
    found = find_images(job, known_facts(Account(job.output)))
    files = {path for image in found.images for path in image.spec.files}
    return {str(path): own_stamp(path) for path in files}


def begin_run(deployment: str) -> bool:
    """Begin a run of a deployment; False if it is paused, or if a run of it is due or under way."""
    now = datetime.now(UTC)
    with get_client(sync_client=True) as client:
        known = client.read_deployment_by_name(deployment)
        others = FlowRunFilter(
            deployment_id={"any_": [known.id]},
            state={"type": {"any_": [*UNFINISHED, StateType.SCHEDULED]}},
        )
        for run in client.read_flow_runs(flow_run_filter=others):
            due = run.next_scheduled_start_time
            if run.state_type != StateType.SCHEDULED or due is None or due <= now:
                return False
        if known.paused:
            return False
        client.create_flow_run_from_deployment(known.id)
        return True


def watch(job: Job, deployment: str, say: Callable[[str], None], stop: threading.Event) -> None:
    """Begin a run of a deployment whenever inputs of its job have arrived or changed, until told to stop.

    Parameters
    ----------
    job
        The job.
    deployment
        Its name in Prefect, ``FLOW/NAME``.
    say
        Called with each line about inputs that cannot be searched for.
    stop
        Ends the watch.
    """
    arrivals, said, pause = Arrivals(), "", 0.0
    while not stop.wait(pause):
        start = time.monotonic()
        try:
            if arrivals.look(input_states(job)) and begin_run(deployment):
                arrivals.run_begins()
        except GlassplateError as error:
            if one_line(error) != said:
                said = one_line(error)
                say(said)
        except httpx.HTTPError:  # the server may be back at the next look
            pass
        pause = max(POLL_S, (time.monotonic() - start) / MOST_SHARE)
