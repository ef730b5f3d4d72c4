"""What a job writes to be looked at: its own page while it runs, and the page or picture of each image."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from glassplate.flows.jobs.job import ReportKind
from glassplate.flows.report.job_log import JobLog
from glassplate.pipeline.errors import GlassplateError
from glassplate.pipeline.events import Listener, Warned
from glassplate.pipeline.text import one_line

# Seconds between two pages of a run.
PERIOD_S = 60.0
# Share of the time of a run that its page may take. A new picture costs 30 ms, and each line 0.5 ms.
MOST_SHARE = 0.03


class JobPage:
    """The page of a job, ``report.html`` beside its results: written while it runs, and at its end.

    A page that cannot be written stops no job. The log has the reason.
    """

    def __init__(
        self, folder: Path, log: JobLog, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder, self._log, self._clock = folder, log, clock
        self._due = clock() + PERIOD_S

    def image_ended(self) -> None:
        """Write the page if that is due."""
        if self._clock() >= self._due:
            self.write()

    def write(self) -> Path | None:
        """Write the page; None if that is not possible."""
        from glassplate.pipeline.pages.job_page import write_job_page

        begun = self._clock()
        try:
            page = write_job_page(self._folder)
        except (GlassplateError, OSError) as error:
            self._log.write(logging.WARNING, f"the page of the job: {one_line(error)}")
            return None
        finally:
            now = self._clock()
            self._due = now + max(PERIOD_S, (now - begun) / MOST_SHARE)
        return page


def write_reports(store: Path, kinds: Sequence[ReportKind], listener: Listener) -> None:
    """Write what a job asks for beside a result; a warning says what could not be written."""
    from glassplate.pipeline.pages.result_page import write_result_page
    from glassplate.pipeline.pages.result_picture import write_result_picture

    writers = {"html": write_result_page, "png": write_result_picture}
    for kind in kinds:
        try:
            writers[kind](store)
        except (GlassplateError, OSError) as error:  # the result is good
            listener(Warned(store, one_line(error)))
