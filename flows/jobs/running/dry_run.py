"""What a job would do, image by image, and how long it would take; nothing is written, no server started."""

from __future__ import annotations

import shutil
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from glassplate.flows.accounts.account import Account
from glassplate.flows.jobs.image import Image
from glassplate.flows.jobs.images import default_recipe
from glassplate.flows.jobs.job import Job
from glassplate.flows.jobs.running.asked import recipe_of
from glassplate.flows.jobs.running.settled import RunFacts, name_of, settled
from glassplate.flows.report.job_plan import Action, ImagePlan, JobPlan
from glassplate.flows.report.text import plural, reason
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.memory import project
from glassplate.pipeline.planning.timing.duration import START_S, projected_seconds
from glassplate.pipeline.pools.open_pool import default_workers
from glassplate.pipeline.provenance.manifest import finished_manifest
from glassplate.pipeline.text import printable

# Images that are planned to estimate the time and disk of all. A plan takes a second or two, with its trials.
MOST_SAMPLES = 12


@dataclass(frozen=True)
class _ToRestore:
    """An image that would be restored."""

    image: Image
    plan: ImagePlan
    file_bytes: int


def plan_job(job: Job, images: tuple[Image, ...], *, retry_failed: bool) -> JobPlan:
    """Plan a job. Inputs are opened, at most `MOST_SAMPLES` of them are sampled, and none is read as a whole.

    Parameters
    ----------
    job
        The job.
    images
        Its images, as `find_images` finds them.
    retry_failed
        Whether images with a lasting failure would be tried again.
    """
    account, facts = Account(job.output), RunFacts(job, retry_failed=retry_failed)
    plans = [_plan(image, account, facts) for image in images]
    todo = [
        _ToRestore(image, plan, _size_of(image.spec.path))
        for image, plan in zip(images, plans, strict=True)
        if plan.action in ("restore", "resume")
    ]
    limit = job.limits.images
    late = {one.image for one in todo[limit:]} if limit is not None else set()
    estimated = _estimated([one for one in todo if one.image not in late], job)
    whys = {image: f"limits.images, {plural(limit or 0, 'image')}, is reached" for image in late}
    planned = [
        replace(plan, action="pending", reason=whys[image])
        if image in whys
        else estimated.get(image, plan)
        for image, plan in zip(images, plans, strict=True)
    ]
    return _sum(job, planned)


def _sum(job: Job, planned: list[ImagePlan]) -> JobPlan:
    workers = default_workers(job.pool, workers=job.workers, device=job.device)
    known = [plan.seconds for plan in planned if plan.seconds is not None]
    folder = next(one for one in (job.output, *job.output.parents) if one.is_dir())
    return JobPlan(
        images=tuple(planned),
        workers=workers,
        seconds=sum(known) / workers + (START_S if known else 0.0),
        disk_bytes=sum(plan.disk_bytes or 0 for plan in planned),
        free_bytes=shutil.disk_usage(folder).free,
        unknown=sum(p.action in ("restore", "resume") and p.seconds is None for p in planned),
        sampled=sum(plan.sampled for plan in planned),
    )


def _plan(image: Image, account: Account, facts: RunFacts) -> ImagePlan:
    """What would be done with an image, by the account and the manifest of its result."""
    action: Action = "restore"
    why, names = "", [step.recipe for step in image.steps] or [image.recipe or ""]
    entry = settled(image, account.entry(name_of(image, facts.job)), facts)
    if entry is not None:
        action = "skip" if entry.state == "skipped" else "quarantined"
        why = entry.reason or entry.status
    elif finished_manifest(image.store) is not None:
        action, why = "look", "a result is there; its files are compared when the job runs"
    elif image.store.exists():
        action = "resume"
    if action in ("restore", "resume") and names == [""]:
        try:
            names = [default_recipe(image.spec.path)]
        except Exception as error:  # whatever is wrong with a file, the others are planned
            action, why = "quarantined", reason(error)
    return ImagePlan(
        source=printable(str(image.spec.path)),
        store=printable(str(image.store)),
        action=action,
        reason=printable(why),
        recipe=", ".join(names) if action in ("restore", "resume") else "",
    )


def _estimated(todo: list[_ToRestore], job: Job) -> dict[Image, ImagePlan]:
    """Time and disk of each image: of some by their plans, of others by those of similar size."""
    groups: dict[tuple[object, ...], list[_ToRestore]] = defaultdict(list)
    for one in todo:
        image = one.image
        key = (one.plan.recipe, image.overrides, image.scale, image.steps, one.file_bytes)
        groups[*key, image.spec.path.suffix].append(one)
    estimated: dict[Image, ImagePlan] = {}
    samples: list[_ToRestore] = []
    for members in sorted(groups.values(), key=len, reverse=True)[:MOST_SAMPLES]:
        sample = replace(members[0], plan=_sampled(members[0], job))
        samples.append(sample)
        estimated[sample.image] = sample.plan
    for one in todo:
        if one.image not in estimated:
            estimated[one.image] = _scaled(one, samples)
    return estimated


def _sampled(one: _ToRestore, job: Job) -> ImagePlan:
    """The plan of an image with its time and disk. Each step is planned as if it were the first."""
    seconds, disk_bytes = 0.0, 0
    try:
        for stage in one.image.stages():
            name = stage.recipe or default_recipe(one.image.spec.path)
            recipe = recipe_of(name, stage.overrides, stage.scale)
            plan = make_plan(one.image.spec, recipe, recipe_name=name, device=job.device)
            seconds += max(0.0, projected_seconds(plan, 1) - START_S)
            disk_bytes += project(plan, workers=1).disk_bytes
    except Exception as error:  # whatever is wrong with a file, the others are planned
        why = printable(reason(error))
        return replace(one.plan, action="quarantined", reason=why, sampled=True)
    return replace(one.plan, seconds=seconds, disk_bytes=disk_bytes, sampled=True)


def _scaled(one: _ToRestore, samples: list[_ToRestore]) -> ImagePlan:
    """The plan of an image by that of the one with the same recipe whose file is nearest in size."""
    alike = [s for s in samples if s.plan.recipe == one.plan.recipe and s.plan.seconds is not None]
    if not alike:
        return one.plan
    near = min(alike, key=lambda sample: abs(sample.file_bytes - one.file_bytes))
    share = one.file_bytes / near.file_bytes if near.file_bytes else 1.0
    return replace(
        one.plan,
        seconds=(near.plan.seconds or 0.0) * share,
        disk_bytes=round((near.plan.disk_bytes or 0) * share),
    )


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
