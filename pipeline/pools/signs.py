"""Signs of life of the tasks of a Dask pool, by which a task that hangs is known.

A worker sends a message when it begins a task, and with each progress message of the task. The messages go to
the client through the scheduler's event log.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from glassplate.pipeline.failures import Failure
from glassplate.pipeline.pools.pool import OnProgress, Work, attempt

# Seconds without a sign after which a task counts as hung. A fit reports at each record of its log, on a slow
# core every few minutes, so that half an hour of silence is no slow fit.
HUNG_S = 1800.0


@dataclass
class _Task:
    """A task that is submitted."""

    on_progress: OnProgress
    last: float = 0.0
    """Time of its last sign."""
    worker: str = ""
    """Address of the worker that sent it; empty before the first sign."""


class Signs:
    """Signs of the tasks that one client has submitted.

    All of them come by one topic of the scheduler's log. Dask keeps the handler of a topic, and all that it
    holds, for as long as the client lives: with a topic for each stage of each image, the memory of a job
    grew by the plans of all its images.
    """

    def __init__(self) -> None:
        self.topic = f"glassplate-{uuid.uuid4().hex}"
        self._tasks: dict[str, _Task] = {}

    def expect(self, task: str, on_progress: OnProgress) -> None:
        """Expect signs of a task; call this before the task is submitted.

        Parameters
        ----------
        task
            Key of its future.
        on_progress
            Receives the progress messages of the task.
        """
        self._tasks[task] = _Task(on_progress)

    def heard(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """Take in an event of the scheduler's log; that of a task that is forgotten comes too late."""
        message = event[1]
        task = self._tasks.get(message["task"])
        if task is None:
            return
        task.last, task.worker = time.monotonic(), message["worker"]
        if message["progress"] is not None:
            task.on_progress(message["progress"])

    def silent_on(self, task: str) -> str | None:
        """Address of the worker on which a task hangs; None if it does not, or was not begun yet."""
        known = self._tasks.get(task)
        if known is None or not known.worker:
            return None
        return known.worker if time.monotonic() - known.last > HUNG_S else None

    def forget(self, task: str) -> None:
        """Forget a task that has ended."""
        self._tasks.pop(task, None)


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
