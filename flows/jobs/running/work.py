"""The work on one image of a job: its restoration, step by step."""

from __future__ import annotations

import time
from dataclasses import replace

from glassplate.flows.jobs.image import Image
from glassplate.flows.jobs.lazy_pool import PoolInTurn
from glassplate.flows.jobs.running.by_policy import restore_by_policy
from glassplate.flows.jobs.running.find_done import request_for
from glassplate.flows.jobs.running.job_run import JobRun
from glassplate.flows.jobs.running.outcomes import Look, Outcome, report_of_result, restored
from glassplate.flows.jobs.running.pages import write_reports
from glassplate.pipeline.errors import GlassplateError
from glassplate.pipeline.events import Listener, Warned
from glassplate.pipeline.export.own_files import is_export
from glassplate.pipeline.run.request import RunResult
from glassplate.pipeline.run.restore import restore


def restore_one(look: Look, run: JobRun, listener: Listener) -> Outcome:
    """Restore an image, and write the joint export of its file if it is the last of it.

    Raises
    ------
    Exception
        Whatever is wrong with the image.
    """
    image, pool = look.image, PoolInTurn(run.pool, look.turn)
    if is_export(image.spec.path):
        listener(Warned(image.store, "the input is an export of glassplate"))
    named, result = restore_by_policy(
        image,
        run.facts.job,
        run.taken,
        lambda named: _restore_steps(named, replace(run, pool=pool), listener),
        listener,
    )
    if run.donors is not None:
        run.donors.add(named.store)
    write_reports(named.store, run.facts.job.reports, listener)
    return restored(look, named, result, report_of_result(named, result))


def _restore_steps(image: Image, run: JobRun, listener: Listener) -> RunResult:
    """Go through the steps of an image; return the result of the last one, with the time of all."""
    start = time.monotonic()
    stages = image.stages()
    for number, stage in enumerate(stages, start=1):
        result = restore(request_for(stage, run), run.pool, listener)
        if result.status == "partial" and number < len(stages):
            raise GlassplateError(
                f"{stage.store}: step {number} has left out {result.quarantined} of {result.tiles} "
                "tiles, and the next step would build on that; see the reasons in its report"
            )
    return replace(result, seconds=time.monotonic() - start)
