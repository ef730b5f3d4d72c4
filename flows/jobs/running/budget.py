"""The limits of one run of a job, as they are used up."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from glassplate.flows.jobs.limits import Limits
from glassplate.flows.jobs.running.verdicts import LimitReachedError
from glassplate.flows.report.text import amount, duration, plural


class Budget:
    """Says when no further image begins, and when one under way has to end; threads may share it.

    Parameters
    ----------
    limits
        Of the job.
    output
        Folder of the results, whose disk keeps `limits.free_disk` free.
    clock
        Seconds.
    """

    def __init__(
        self, limits: Limits, output: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._output = output
        self._clock = clock
        self._start = clock()
        self._begun = 0
        self._failed = 0
        self._stopped = ""
        self._guard = threading.Lock()

    def begin(self) -> str:
        """Count an image that begins; return why it must not, or an empty text."""
        with self._guard:
            why = self._stopped or self._exhausted()
            if not why:
                self._begun += 1
            return why

    def count_failure(self) -> None:
        """Count an image that could not be restored."""
        with self._guard:
            self._failed += 1

    def stop(self, why: str) -> None:
        """Let no further image begin."""
        with self._guard:
            self._stopped = self._stopped or why

    def check(self, begun_at: float) -> None:
        """End the work on an image if its time or that of the run is over.

        Parameters
        ----------
        begun_at
            When the work on the image began, by the clock.

        Raises
        ------
        LimitReachedError
            With the limit.
        """
        now, limits = self._clock(), self._limits
        if limits.image_seconds is not None and now - begun_at > limits.image_seconds:
            raise LimitReachedError(
                f"took longer than limits.image_seconds, {duration(limits.image_seconds)}; "
                "the next run goes on with it"
            )
        if self._is_late(now):
            raise LimitReachedError(f"{self._hours()}; the next run goes on with it")

    def now(self) -> float:
        """Return the time of the clock."""
        return self._clock()

    def _exhausted(self) -> str:
        limits = self._limits
        if limits.images is not None and self._begun >= limits.images:
            return f"limits.images, {plural(limits.images, 'image')}, is reached"
        if limits.failures is not None and self._failed >= limits.failures:
            return f"limits.failures, {plural(limits.failures, 'failed image')}, is reached"
        if self._is_late(self._clock()):
            return self._hours()
        if limits.free_disk is not None:
            folder = next(one for one in (self._output, *self._output.parents) if one.is_dir())
            free = shutil.disk_usage(folder).free
            if free < limits.free_disk:
                return f"{amount(free)} is free, less than limits.free_disk, {amount(limits.free_disk)}"
        return ""

    def _is_late(self, now: float) -> bool:
        hours = self._limits.hours
        return hours is not None and now - self._start > hours * 3600

    def _hours(self) -> str:
        return f"limits.hours, {duration((self._limits.hours or 0.0) * 3600)}, is over"
