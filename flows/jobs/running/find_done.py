"""Whether the result of an image is there already, by the content of its files."""

from __future__ import annotations

import time

from glassplate.flows.jobs.image import Image
from glassplate.flows.jobs.images import default_recipe
from glassplate.flows.jobs.running.asked import recipe_of
from glassplate.flows.jobs.running.by_policy import versions_of
from glassplate.flows.jobs.running.job_run import JobRun
from glassplate.flows.jobs.running.outcomes import (
    Look,
    Outcome,
    declined,
    failed,
    report_of_result,
    restored,
)
from glassplate.flows.jobs.running.verdicts import verdict_of
from glassplate.pipeline.errors import ChangedError, SourceError
from glassplate.pipeline.export.export import check_target
from glassplate.pipeline.run.finished import complete_result
from glassplate.pipeline.run.request import RestoreRequest, RunResult


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


def _complete_result(image: Image, run: JobRun) -> RunResult | None:
    """The result of the last step, if the results of all steps are complete."""
    result = None
    for stage in image.stages():
        result = complete_result(request_for(stage, run))
        if result is None:
            return None
    return result


def request_for(image: Image, run: JobRun) -> RestoreRequest:
    """The request to restore one step of an image."""
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
