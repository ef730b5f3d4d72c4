"""Images of which nothing is to do, by the account of the job and the state of their files alone.

No input is read. What this trusts is in `glassplate.flows.accounts.stamps`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from glassplate.flows.accounts.entry import Entry
from glassplate.flows.accounts.stamps import FileStamp, own_stamp, stamp_of, tree_stamp
from glassplate.flows.jobs.image import Image
from glassplate.flows.jobs.job import Job
from glassplate.flows.jobs.running.asked import Asked, asked_of, companions_beside
from glassplate.pipeline.errors import StoreError, UsageError
from glassplate.pipeline.provenance.checksums import check_undamaged
from glassplate.pipeline.provenance.folder import MANIFEST, provenance_path
from glassplate.pipeline.provenance.identity import software_versions
from glassplate.pipeline.text import one_line

CHANGED_REMEDY = (
    "keep it as it is, or set changed: redo or changed: keep-both in the job to have it made anew"
)
DAMAGED_REMEDY = "remove the result and run the job again"


@dataclass(frozen=True)
class RunFacts:
    """What the entries of one run of a job share."""

    job: Job
    flow_run: str = ""
    retry_failed: bool = False
    """Whether images with a lasting failure are tried again."""


def name_of(image: Image, job: Job) -> str:
    """Name of the result that a job asks for: its path below the output folder."""
    return os.path.relpath(image.store, job.output)


def settled(image: Image, before: Entry | None, run: RunFacts) -> Entry | None:
    """Return the entry of an image on which no work is to be done now; None if there may be some.

    Parameters
    ----------
    image
        Of the job.
    before
        What earlier runs have recorded of it; None if nothing.
    run
        This run.
    """
    if image.fault:
        # two images of one name have a line each
        key = f"{name_of(image, run.job)} from {image.spec.path.with_name(image.label)}"
        return replace(
            blank_entry(image, run),
            name=key,
            state="quarantined",
            status="quarantined",
            reason=image.fault,
            remedy="correct the job or the file",
        )
    if before is None:
        return None
    try:
        asked = asked_of(image)
    except UsageError:  # the work on the image reports it
        return None
    before = replace(before, job=run.job.name, flow_run=run.flow_run)
    is_same = _has_same_inputs(image, before, asked)
    result = run.job.output / before.result
    if manifest_stamp(result) != before.manifest:
        return None
    if before.lasting:
        is_asked = before.asked == asked.digest
        return before if is_same and is_asked and not run.retry_failed else None
    if before.declined and run.job.changed == "skip":
        # said before of a result of other settings; `before` has its state and the reason
        return before if before.declined == asked.of_now() else None
    is_done = before.complete and is_same and _is_what_was_asked(before, asked)
    return _undamaged(before, result) if is_done and _has_exports(image, before) else None


def blank_entry(image: Image, run: RunFacts) -> Entry:
    """The entry of an image of which nothing is known."""
    name = name_of(image, run.job)
    return Entry(
        image=os.path.abspath(image.spec.path),
        part=image.part,
        name=name,
        result=name,
        state="pending",
        status="pending",
        job=run.job.name,
        flow_run=run.flow_run,
        facts=None if image.facts is None else image.facts.to_json(),
    )


def manifest_stamp(store: Path) -> FileStamp | None:
    """State of the manifest of a result, or of what is in its place; None if nothing is there."""
    return own_stamp(provenance_path(store, MANIFEST)) or own_stamp(store)


def _has_same_inputs(image: Image, before: Entry, asked: Asked) -> bool:
    """Whether every file that the result was made from is in the state in which it was."""
    named = {os.path.abspath(path) for path in asked.files}
    if (
        not named <= before.inputs.keys()
        or companions_beside(image.spec) != before.companions_beside
    ):
        return False
    if any(stamp_of(Path(path)) != file.stamp for path, file in before.inputs.items()):
        return False
    # a file that is missing has no stamp, and is as it was; one that was read must have one
    return before.lasting or all(file.stamp is not None for file in before.inputs.values())


def _is_what_was_asked(before: Entry, asked: Asked) -> bool:
    """Whether a complete result is what the job asks for; another release may have other recipes."""
    if before.asked != asked.digest:
        return False
    is_older = before.versions.get("glassplate") != software_versions()["glassplate"]
    return is_older or before.recipe_sha256 == asked.recipe_sha256


def _has_exports(image: Image, before: Entry) -> bool:
    """Whether the export that the job asks for is there as it was written."""
    if image.export is None or image.joint is not None:
        return True
    wanted = {image.export_path(is_fits=is_fits) for is_fits in (True, False)}
    return any(path is not None and is_export_as_recorded(path, before) for path in wanted)


def is_export_as_recorded(path: Path | None, entry: Entry) -> bool:
    """Whether an export is in the state in which an entry has recorded it; False if it has not."""
    stamp = None if path is None else entry.exports.get(os.path.abspath(path))
    return path is not None and stamp is not None and own_stamp(path) == stamp


def _undamaged(before: Entry, result: Path) -> Entry:
    """The entry of a result that is done, if it is undamaged. No file is read unless one has changed."""
    done = replace(before, state="skipped", status="done before", reason="", remedy="")
    files = tree_stamp(result)
    if files and files == before.files:
        return done
    try:
        check_undamaged(result)
    except StoreError as error:
        return replace(
            before,
            state="quarantined",
            status="quarantined",
            reason=one_line(error),
            remedy=DAMAGED_REMEDY,
        )
    return replace(done, files=files)
