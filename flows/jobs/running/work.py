"""The work on one image of a job: look whether it is done already, or restore it."""

from __future__ import annotations

import time
from dataclasses import replace

from glassplate.flows.jobs.image import Image
from glassplate.flows.jobs.images import default_recipe
from glassplate.flows.jobs.lazy_pool import PoolInTurn
from glassplate.flows.jobs.running.asked import recipe_of
from glassplate.flows.jobs.running.by_policy import restore_by_policy, versions_of
from glassplate.flows.jobs.running.job_run import JobRun
from glassplate.flows.jobs.running.outcomes import (
    Look,
    Outcome,
    declined,
    failed,
    report_of_result,
    restored,
)
from glassplate.flows.jobs.running.pages import write_reports
from glassplate.flows.jobs.running.verdicts import verdict_of
from glassplate.pipeline.errors import ChangedError, GlassplateError, SourceError
from glassplate.pipeline.events import Listener, Warned
from glassplate.pipeline.export.export import check_target
from glassplate.pipeline.export.own_files import is_export
from glassplate.pipeline.run.restore import RestoreRequest, RunResult, complete_result, restore


def find_done(look: Look, run: JobRun) -> Outcome | None:
    """The outcome of an image whose result is there, by the content of its files; None if there is work.

    A job asks for this where its account does not say it, so that the image costs no task of Prefect.
    """
    if run.donors is not None or not look.image.store.exists():
        return None
    start = time.monotonic()
    for named in versions_of(look.image, run.taken):
        try:
            result = _complete_result(named, run)
        except ChangedError as error:
            if error.ended and run.facts.job.changed == "keep-both":
                continue
            skips = error.ended and run.facts.job.changed == "skip"
            return declined(look, error) if skips else None
        except SourceError:  # an input, or the export of a step
            return None
        except Exception as error:
            return failed(look, verdict_of(error), time.monotonic() - start)
        if result is None:
            return None
        return restored(look, named, result, report_of_result(named, result))
    return None


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


def _complete_result(image: Image, run: JobRun) -> RunResult | None:
    """The result of the last step, if the results of all steps are complete."""
    result = None
    for stage in image.stages():
        result = complete_result(_request(stage, run))
        if result is None:
            return None
    return result


def _restore_steps(image: Image, run: JobRun, listener: Listener) -> RunResult:
    """Go through the steps of an image; return the result of the last one, with the time of all."""
    start = time.monotonic()
    stages = image.stages()
    for number, stage in enumerate(stages, start=1):
        result = restore(_request(stage, run), run.pool, listener)
        if result.status == "partial" and number < len(stages):
            raise GlassplateError(
                f"{stage.store}: step {number} has left out {result.quarantined} of {result.tiles} "
                "tiles, and the next step would build on that; see the reasons in its report"
            )
    return replace(result, seconds=time.monotonic() - start)


def _request(image: Image, run: JobRun) -> RestoreRequest:
    default = default_recipe(image.spec.path)
    name = image.recipe or default
    recipe = recipe_of(name, image.overrides, image.scale)
    export = image.export_path(is_fits=default == "astro-denoise")
    target = export or image.joint
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        check_target(target)
    return RestoreRequest(
        spec=image.spec,
        store=image.store,
        recipe=recipe,
        recipe_name=name,
        device=run.facts.job.device,
        export=export,
        keep_scratch=run.facts.job.keep_scratch,
        any_version=True,
        context=run.context,
        donor=image.donor if run.donors is None else run.donors.donor_for(image, recipe),
    )
