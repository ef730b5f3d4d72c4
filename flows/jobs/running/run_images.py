"""One run of a job: every image gets exactly one outcome, which is in the account before the run ends."""

from __future__ import annotations

import contextvars
import itertools
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from glassplate.flows.accounts.entry import Entry
from glassplate.flows.accounts.stamps import own_stamp
from glassplate.flows.jobs.image import Image
from glassplate.flows.jobs.joint_exports import JointExports
from glassplate.flows.jobs.lazy_pool import LazyPool
from glassplate.flows.jobs.running.arriving import ARRIVING, wait_until_whole
from glassplate.flows.jobs.running.asked import asked_of
from glassplate.flows.jobs.running.find_done import find_done
from glassplate.flows.jobs.running.job_run import JobRun
from glassplate.flows.jobs.running.outcomes import (
    Look,
    Outcome,
    outcome_of_entry,
    unreadable_settings,
    waiting,
)
from glassplate.flows.jobs.running.settled import (
    is_export_as_recorded,
    manifest_stamp,
    name_of,
    settled,
)
from glassplate.flows.jobs.running.through import Way, go_through
from glassplate.flows.jobs.running.verdicts import verdict_of
from glassplate.flows.processes.memory import share_arenas
from glassplate.pipeline.errors import GlassplateError, UsageError
from glassplate.pipeline.pages.job_account import State
from glassplate.pipeline.pools.pool import Pool
from glassplate.pipeline.text import one_line, printable

Restore: TypeAlias = Callable[[Look], Outcome]
"""Restores an image that has been looked at."""


def run_images(
    run: JobRun, images: Sequence[Image], pool: LazyPool, restore: Restore
) -> list[Outcome]:
    """Work through the images of a job.

    Returns
    -------
    outcomes
        One for each image, in their order.

    Raises
    ------
    UsageError
        If the account cannot be written.
    KeyboardInterrupt
        If the run is to stop. The account then has the images that were not begun as pending.
    """
    outcomes: dict[Image, Outcome] = {}
    joint = JointExports(images)
    turns = itertools.count()
    run.display.expect_images(len(images))
    _announce(run, images)
    share_arenas()

    def ended(image: Image, outcome: Outcome) -> None:
        outcomes[image] = _ended(image, outcome, run, joint)

    way = Way(
        settled=lambda image: _settled(image, run),
        refused=lambda image: _refused(image, run),
        submit=lambda image: _submitted(image, next(turns), run, threads, restore),
        is_worth_another=lambda outcome: _is_worth_another(outcome, run),
        ended=ended,
        at_once=lambda: 1 if run.donors is not None else images_in_flight(pool, len(images)),
    )
    # the pool closes before the threads are joined, so that an interrupted run waits for no fit
    with ExitStack() as stack:
        stack.callback(_close, run, images, outcomes)
        # as many threads as are at work at once
        threads = stack.enter_context(ThreadPoolExecutor(len(images), thread_name_prefix="image"))
        stack.enter_context(pool)
        try:
            go_through(_new_ones_first(images, run), way)
        except BaseException:  # Ctrl-C, a signal, or a cancellation from Prefect
            run.stop.set()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return [outcomes[image] for image in images]


def images_in_flight(pool: Pool, images: int) -> int:
    """How many images are worked on at once.

    Images of one tile fill the pool if there is one for each worker, and one more is read and planned, or
    recorded, meanwhile. A pool that is this process does one thing at a time.
    """
    is_this_process = pool.workers == 1 and pool.name in ("inline", "auto")
    return 1 if is_this_process else min(images, pool.workers + 1)


def _new_ones_first(images: Sequence[Image], run: JobRun) -> Sequence[Image]:
    """The images in the order of the work: to look at thousands that are done takes seconds, and can wait."""
    if run.donors is not None:
        return images

    def is_done(image: Image) -> bool:
        entry = run.account.entry(name_of(image, run.facts.job))
        return entry is not None and entry.complete

    return sorted(images, key=is_done)


def _settled(image: Image, run: JobRun) -> Outcome | None:
    entry = settled(image, run.account.entry(name_of(image, run.facts.job)), run.facts)
    return None if entry is None else outcome_of_entry(entry, image, run.facts)


def _refused(image: Image, run: JobRun) -> Outcome | None:
    why = run.budget.begin()
    if not why:
        return None
    return waiting(image, run.account.entry(name_of(image, run.facts.job)), run.facts, why)


def _is_worth_another(outcome: Outcome, run: JobRun) -> bool:
    """Whether an image is tried once more in this run. The frames of a sequence stay in their order."""
    is_late = outcome.report.status == "partial" or outcome.disk_full or outcome.limited
    return outcome.passing and not is_late and run.donors is None


def _submitted(
    image: Image, turn: int, run: JobRun, threads: ThreadPoolExecutor, restore: Restore
) -> Future[Outcome]:
    """Look at an image and restore it in another thread, in the context of Prefect's run."""
    before = run.account.entry(name_of(image, run.facts.job))

    def work() -> Outcome:
        try:
            asked = asked_of(image)
        except GlassplateError as error:
            return unreadable_settings(image, run.facts, error)
        if not wait_until_whole(asked.files, run.stop):
            return replace(waiting(image, None, run.facts, ARRIVING), passing=True)
        look = Look.at(image, run.facts, before, asked, turn)
        done = find_done(look, run)
        return restore(look) if done is None else done

    return threads.submit(contextvars.copy_context().run, work)


def _ended(image: Image, outcome: Outcome, run: JobRun, joint: JointExports) -> Outcome:
    """Export what was waiting for an image, and record its outcome."""
    named = replace(image, store=run.facts.job.output / outcome.entry.result)
    has_result = outcome.report.status not in ("quarantined", "pending")
    as_recorded = not outcome.is_new and is_export_as_recorded(image.joint, outcome.entry)
    try:
        exported = joint.image_ended(
            named, run.display, restored=has_result, as_recorded=as_recorded
        )
    except Exception as error:  # the results are good
        verdict = verdict_of(error)
        state: State = "pending" if verdict.passing else "quarantined"
        said: dict[str, Any] = {
            "reason": verdict.reason,
            "remedy": verdict.remedy,
            "status": state,
        }
        entry = replace(outcome.entry, state=state, **said)
        outcome = replace(outcome, entry=entry, report=replace(outcome.report, **said))
    else:
        if exported is not None:
            path = printable(str(exported))
            outcome = replace(outcome, report=replace(outcome.report, exports=(path,)))
            run.account.note(*_with_export(run, joint.stores_of(exported), exported))
            outcome = replace(outcome, entry=_exported(outcome.entry, run, exported))
    if outcome.is_new and outcome.report.status in ("quarantined", "partial"):
        run.budget.count_failure()
    if outcome.disk_full:
        run.budget.stop(f"the disk was full: {outcome.report.reason}")
    _record(run, outcome)
    run.display.image_ended()
    if run.page is not None:
        run.page.image_ended()
    return outcome


def _with_export(run: JobRun, stores: Sequence[Path], export: Path) -> list[Entry]:
    """The entries of results that were exported together, whose manifests name the export now."""
    names = {os.path.relpath(store, run.facts.job.output) for store in stores}
    entries = [entry for entry in run.account.entries() if entry.result in names]
    return [_exported(entry, run, export) for entry in entries]


def _exported(entry: Entry, run: JobRun, export: Path) -> Entry:
    return replace(
        entry,
        manifest=manifest_stamp(run.facts.job.output / entry.result),
        exports={**entry.exports, os.path.abspath(export): own_stamp(export)},
    )


def _record(run: JobRun, outcome: Outcome) -> None:
    """Write an outcome to the account. A disk that is full must not end a job whose results are good."""
    if not outcome.is_new:
        run.account.note(outcome.entry)
        return
    try:
        run.account.append(outcome.entry)
    except UsageError as error:
        run.log.write(logging.ERROR, one_line(error))


def _announce(run: JobRun, images: Sequence[Image]) -> None:
    """Write the images of which nothing is known yet as pending: a job that is killed has named them."""
    facts = run.facts
    new = [image for image in images if run.account.entry(name_of(image, facts.job)) is None]
    entries = [
        waiting(image, None, facts, "not begun yet").entry for image in new if not image.fault
    ]
    run.account.append(*entries)


def _close(run: JobRun, images: Sequence[Image], outcomes: Mapping[Image, Outcome]) -> None:
    """Write the account with one line for each image."""
    facts = run.facts
    for image in images:
        if image not in outcomes and not image.fault:
            before = run.account.entry(name_of(image, facts.job))
            run.account.note(waiting(image, before, facts, "the run was interrupted").entry)
    try:
        found = {outcome.entry.name for outcome in outcomes.values()}
        found |= {name_of(image, facts.job) for image in images if not image.fault}
        run.account.close(facts.job.name, found)
    except UsageError as error:
        run.log.write(logging.ERROR, one_line(error))
