"""What does the tasks of a run: the interface of every pool, and the pool that is this process.

A task reads and writes its own pixels and returns a small record. It may run twice or be killed without
harm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from glassplate.pipeline.failures import Failure

Task = TypeVar("Task")
OnProgress = Callable[[Mapping[str, Any]], None]
"""Receives a progress message: names and plain numbers, which any pool can transport."""
Work = Callable[[Any, OnProgress], Any]

# Seconds between two progress messages of one task: often enough for a progress bar, too rare to cost.
PROGRESS_PERIOD_S = 1.0


class Pool(Protocol):
    """Does tasks, in any order."""

    @property
    def workers(self) -> int:
        """Tasks that run at once."""
        ...

    @property
    def name(self) -> str:
        """For the manifest: inline, local or the scheduler's address."""
        ...

    def expect(self, tasks: int) -> None:
        """Announce, before the first `map` of a run, how many tasks its longest stage has."""
        ...

    def map(
        self, work: Work, tasks: Sequence[Task], on_progress: OnProgress, turn: int = 0
    ) -> Iterator[tuple[Task, Any | Failure]]:
        """Do `work(task, on_progress)` for every task; yield each with its result as it ends.

        Parameters
        ----------
        work
            An importable function; what it raises becomes a `Failure`.
        tasks
            Small and picklable.
        on_progress
            Called in this process with the messages that the work sends while it runs.
        turn
            Where several threads use the pool, waiting tasks of a lower turn go first.
        """
        ...


class InlinePool:
    """One task after another, in this process."""

    workers = 1
    name = "inline"

    def expect(self, tasks: int) -> None:
        """See `Pool.expect`; it makes no difference."""

    def map(
        self, work: Work, tasks: Sequence[Task], on_progress: OnProgress, turn: int = 0
    ) -> Iterator[tuple[Task, Any | Failure]]:
        """See `Pool.map`."""
        for task in tasks:
            yield task, attempt(work, task, on_progress)


def attempt(work: Work, task: Any, on_progress: OnProgress) -> Any | Failure:
    """Do one task; an error becomes a `Failure`, so that the other tasks go on."""
    try:
        return work(task, on_progress)
    except Exception as error:  # any error of one task must not end the others
        return Failure.of(error)


def ignore_progress(message: Mapping[str, Any]) -> None:
    """Receive progress messages and do nothing."""


def throttled(on_progress: OnProgress) -> OnProgress:
    """Pass on at most one message every `PROGRESS_PERIOD_S`; the others are dropped."""
    last = time.monotonic()

    def pass_on(message: Mapping[str, Any]) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= PROGRESS_PERIOD_S:
            last = now
            on_progress(message)

    return pass_on
