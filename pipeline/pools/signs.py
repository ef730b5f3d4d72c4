"""Signs of life of the tasks of a Dask pool, by which a task that hangs is known.

A worker sends a message when it begins a task, and with each progress message of the task. The messages go to
the client through the scheduler's event log.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from glassplate.pipeline.failures import Failure
from glassplate.pipeline.pools.pool import OnProgress, Work, attempt

# Seconds without a sign after which a task counts as hung. A fit reports at each record of its log, on a slow
# core every few minutes, so that half an hour of silence is no slow fit.
HUNG_S = 1800.0


class Signs:
    """Last sign of each task that a worker has begun.

    Parameters
    ----------
    topic
        Of the scheduler's log, by which the messages of these tasks are told from others.
    on_progress
        Receives the progress messages of the tasks.
    """

    def __init__(self, topic: str, on_progress: OnProgress) -> None:
        self.topic = topic
        self._on_progress = on_progress
        self._last: dict[str, tuple[float, str]] = {}

    def heard(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """Take in an event of the scheduler's log."""
        message = event[1]
        self._last[message["task"]] = (time.monotonic(), message["worker"])
        if message["progress"] is not None:
            self._on_progress(message["progress"])

    def silent_on(self, task: str) -> str | None:
        """Address of the worker on which a task hangs; None if it does not.

        Parameters
        ----------
        task
            Key of its future.
        """
        last = self._last.get(task)
        return last[1] if last is not None and time.monotonic() - last[0] > HUNG_S else None

    def forget(self, task: str) -> None:
        """Forget a task that has ended."""
        self._last.pop(task, None)


def attempt_on_worker(work: Work, task: Any, topic: str) -> Any | Failure:
    """Do a task in a worker, which sends signs of life to a topic of the scheduler's log meanwhile."""
    from distributed import get_worker

    worker = get_worker()
    key = str(worker.get_current_task())

    def send(progress: Mapping[str, Any] | None) -> None:
        message = None if progress is None else dict(progress)
        worker.log_event(topic, {"task": key, "worker": worker.address, "progress": message})

    send(None)
    return attempt(work, task, send)
