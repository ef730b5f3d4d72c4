"""What became of an image: its entry in the account, and its report."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from glassplate.flows.accounts.entry import Entry, InputFile, now
from glassplate.flows.accounts.stamps import FileStamp, own_stamp, stamp_of, tree_stamp
from glassplate.flows.jobs.image import Image
from glassplate.flows.jobs.running.asked import Asked, companions_beside
from glassplate.flows.jobs.running.settled import (
    CHANGED_REMEDY,
    RunFacts,
    blank_entry,
    manifest_stamp,
)
from glassplate.flows.jobs.running.verdicts import MOST_ATTEMPTS, Verdict
from glassplate.flows.report.reports import ImageReport
from glassplate.flows.report.text import plural
from glassplate.pipeline.errors import ChangedError
from glassplate.pipeline.provenance.manifest import Manifest, read_manifest
from glassplate.pipeline.run.request import RunResult
from glassplate.pipeline.text import one_line, printable

PARTIAL_REMEDY = (
    "see the reasons in its report; glassplate batch --retry-failed tries the tiles again"
)


@dataclass(frozen=True)
class Outcome:
    """What became of an image in this run."""

    entry: Entry
    report: ImageReport
    passing: bool = False
    """Whether it failed for a reason of the moment."""
    is_new: bool = True
    """Whether the image was worked on or read in this run."""
    disk_full: bool = False
    """Whether the disk was full, so that no other image can be restored either."""
    limited: bool = False
    """Whether a limit of the job has ended the work on it."""


@dataclass(frozen=True)
class Look:
    """An image as it was when the work on it began."""

    image: Image
    run: RunFacts
    before: Entry | None
    """What earlier runs have recorded of it."""
    asked: Asked
    turn: int = 0
    """Images of a lower turn have begun earlier, and go first in the pool."""
    started: str = field(default_factory=now)
    stamps: Mapping[str, FileStamp | None] = field(default_factory=dict)

    @classmethod
    def at(
        cls, image: Image, run: RunFacts, before: Entry | None, asked: Asked, turn: int = 0
    ) -> Look:
        """Look at an image now."""
        stamps = {os.path.abspath(path): stamp_of(path) for path in asked.files}
        return cls(image, run, before, asked, turn, stamps=stamps)

    def entry(self, **changed: Any) -> Entry:
        """Make the entry of the image with these fields."""
        common: dict[str, Any] = {
            "started": self.started,
            "ended": now(),
            "asked": self.asked.digest,
            "recipe_sha256": self.asked.recipe_sha256,
            "companions_beside": companions_beside(self.image.spec),
        }
        return replace(blank_entry(self.image, self.run), **(common | changed))


def restored(look: Look, named: Image, result: RunResult, report: ImageReport) -> Outcome:
    """The outcome of an image whose run has ended, complete or in part.

    Parameters
    ----------
    look
        From the start of the work.
    named
        The image with the name of its result.
    result
        Of its last step.
    report
        Of the same.
    """
    first, last = read_manifest(named.stores[0]), read_manifest(named.store)
    exports = [*report.exports]
    entry = look.entry(
        result=os.path.relpath(named.store, look.run.job.output),
        state=report.state,
        status=report.status,
        reason=report.reason,
        remedy=report.remedy,
        lasting=report.status == "partial" and not result.passing,
        seconds=round(report.seconds, 3),
        versions=dict(last.identity.versions),
        run_id=last.run_id,
        inputs=_inputs(look, first),
        manifest=manifest_stamp(named.store),
        complete=result.status == "complete",
        files=tree_stamp(named.store),
        tiles=result.tiles,
        exports={os.path.abspath(path): own_stamp(Path(path)) for path in exports},
    )
    if report.status == "done before" and look.before is not None:
        times = {key: getattr(look.before, key) for key in ("started", "ended", "seconds")}
        entry = replace(entry, **times)
    return Outcome(entry, report, passing=result.passing)


def report_of_result(image: Image, result: RunResult) -> ImageReport:
    """Make the report of a run that has ended."""
    report = ImageReport.from_result(image.spec.path, result, image.part)
    if report.status != "partial":
        return report
    reasons = sorted(set(result.summary.quarantined.values()))
    why = f"{result.quarantined} of {plural(result.tiles, 'tile')} could not be restored: {reasons[0]}"
    remedy = "none: the next run tries them again" if result.passing else PARTIAL_REMEDY
    return replace(report, reason=printable(why), remedy=remedy, passing=result.passing)


def failed(look: Look, verdict: Verdict, seconds: float) -> Outcome:
    """The outcome of an image that could not be restored."""
    before, asked = look.before, look.asked
    is_same = (
        before is not None
        and before.asked == asked.digest
        and all(
            before.inputs.get(path, InputFile("", None)).stamp == stamp
            for path, stamp in look.stamps.items()
        )
    )
    attempts = (before.attempts if is_same and before is not None else 0) + (not verdict.passing)
    lasting = not verdict.passing and (verdict.known or attempts >= MOST_ATTEMPTS)
    remedy = verdict.remedy
    if not verdict.passing and not lasting:
        remedy += f"; the next run tries again (attempt {attempts} of {MOST_ATTEMPTS} has failed)"
    report = _report(look.image, "pending" if verdict.passing else "quarantined", seconds)
    report = replace(report, reason=verdict.reason, remedy=remedy)
    entry = look.entry(
        state=report.state,
        status=report.status,
        reason=verdict.reason,
        remedy=remedy,
        lasting=lasting,
        attempts=attempts,
        seconds=round(seconds, 3),
        inputs={path: InputFile("", stamp) for path, stamp in look.stamps.items()},
        manifest=manifest_stamp(look.image.store),
    )
    return Outcome(entry, report, verdict.passing, True, verdict.disk_full, verdict.limited)


def declined(look: Look, error: ChangedError) -> Outcome:
    """The outcome of an image whose result is of other settings and stays as it is."""
    report = replace(
        _report(look.image, "changed", 0.0),
        reason=printable(f"the result was {error.difference}"),
        remedy=CHANGED_REMEDY,
    )
    entry = look.entry(
        state=report.state,
        status=report.status,
        reason=report.reason,
        remedy=report.remedy,
        declined=look.asked.of_now(),
        manifest=manifest_stamp(look.image.store),
    )
    return Outcome(entry, report)


def waiting(image: Image, before: Entry | None, run: RunFacts, why: str) -> Outcome:
    """The outcome of an image that this run has not begun."""
    if before is not None and before.lasting:
        return outcome_of_entry(replace(before, flow_run=run.flow_run), image, run)
    entry = before if before is not None else blank_entry(image, run)
    remedy = "none: the next run goes on with it"
    report = replace(_report(image, "pending", 0.0), reason=why, remedy=remedy)
    entry = replace(
        entry,
        state="pending",
        status="pending",
        reason=why,
        remedy=remedy,
        declined="",
        job=run.job.name,
        flow_run=run.flow_run,
    )
    return Outcome(entry, report, is_new=False)


def outcome_of_entry(entry: Entry, image: Image, run: RunFacts) -> Outcome:
    """The outcome of an image of which nothing was to be done."""
    report = _report(image, entry.status, 0.0)
    store = printable(str(run.job.output / entry.result))
    remedy, reason = entry.remedy, entry.reason
    return Outcome(
        entry,
        replace(report, store=store, tiles=entry.tiles, reason=reason, remedy=remedy),
        is_new=False,
    )


def unreadable_settings(image: Image, run: RunFacts, error: Exception) -> Outcome:
    """The outcome of an image whose recipe cannot be loaded."""
    report = replace(
        _report(image, "quarantined", 0.0),
        reason=one_line(error),
        remedy="correct the job or the recipe",
    )
    entry = replace(
        blank_entry(image, run),
        state="quarantined",
        status="quarantined",
        reason=report.reason,
        remedy=report.remedy,
    )
    return Outcome(entry, report)


def _report(image: Image, status: Any, seconds: float) -> ImageReport:
    return ImageReport(
        source=printable(str(image.spec.path)),
        store=printable(str(image.store)),
        part=printable(image.part),
        status=status,
        seconds=seconds,
    )


def _inputs(look: Look, manifest: Manifest) -> dict[str, InputFile]:
    """The files that a result was made from, with their state when the work began."""
    found: dict[str, InputFile] = {}
    for file in manifest.identity.input_files():
        path = os.path.abspath(file.path)
        stamp = look.stamps[path] if path in look.stamps else stamp_of(Path(path))
        found[path] = InputFile(file.sha256, stamp)
    for path, stamp in look.stamps.items():
        # the result was made from a file of another name and the same content
        found.setdefault(path, InputFile(manifest.identity.source.sha256, stamp))
    return found
