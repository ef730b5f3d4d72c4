"""What became of each image of a job, by its account and by the results in its folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from glassplate.pipeline.errors import StoreError, UsageError
from glassplate.pipeline.pages.job_account import ACCOUNT, STATES, State, read_account
from glassplate.pipeline.provenance.inspect import is_result
from glassplate.pipeline.provenance.manifest import Manifest, read_manifest
from glassplate.pipeline.text import printable

# Results lie at most so many folders below the folder of a job, whose patterns have few wildcards. Hidden
# folders are passed over.
DEEPEST = 4


@dataclass(frozen=True, kw_only=True)
class AccountLine:
    """What the account of a job says of one image, as far as a page shows it."""

    image: str
    """Path of the input."""
    part: str = ""
    """The HDU or page that the job names."""
    name: str
    """The result, as a path below the folder; the key of the line."""
    result: str
    """The same, where an earlier result of another name is kept."""
    state: State
    status: str = ""
    """The state in more detail."""
    reason: str = ""
    remedy: str = ""
    ended: str | None = None
    """ISO 8601, UTC."""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """One image in the table of a job."""

    label: str
    """File name of the input, with the image in it."""
    store: Path
    """The result, which need not be there."""
    state: State
    status: str
    reason: str
    remedy: str
    ended: str
    seconds: float
    manifest: Manifest | None
    """None where there is no result that can be read."""


def job_rows(folder: Path) -> list[JobRow]:
    """Return the images of a job in the order of its account, then results that it does not name.

    Raises
    ------
    UsageError
        If the folder has neither.
    """
    lines = read_account(folder / ACCOUNT, _LINE.validate_python)
    rows = [_row_of_line(folder, line) for line in lines.values()]
    named = {row.store for row in rows}
    rows += [_row_of_result(store) for store in sorted(_results(folder)) if store not in named]
    if not rows:
        raise UsageError(
            f"{folder}: holds no result and no account of a job ({ACCOUNT}); name the folder of the results"
        )
    return rows


def totals(rows: list[JobRow]) -> dict[State, int]:
    """Number of images in each state, which add up to all images."""
    counts = Counter(row.state for row in rows)
    return {state: counts[state] for state in STATES}


_LINE = TypeAdapter(AccountLine)


def _row_of_line(folder: Path, line: AccountLine) -> JobRow:
    store = folder / line.result
    name = Path(line.image).name + (f"[{line.part}]" if line.part else "")
    return JobRow(
        label=printable(name),
        store=store,
        state=line.state,
        status=line.status or line.state,
        reason=printable(line.reason),
        remedy=printable(line.remedy),
        ended=line.ended or "",
        seconds=line.seconds,
        manifest=_manifest(store) if is_result(store) else None,
    )


def _row_of_result(store: Path) -> JobRow:
    """A result that no account names: of `glassplate restore`, or of an earlier release."""
    manifest = _manifest(store)
    state: State = "pending"
    status, reason, remedy, ended, seconds = "unreadable", "", "", "", 0.0
    if manifest is None:
        reason = "its manifest is missing or damaged"
        remedy = "remove the result and restore the image again"
    else:
        status, seconds = manifest.status, _seconds(manifest)
        ended = (manifest.sessions[-1].ended or "") if manifest.sessions else ""
        if manifest.has_ended:
            state = "done" if manifest.status == "complete" else "quarantined"
        if manifest.status == "partial":
            count = len(manifest.final_summary.quarantined)
            reason = f"{count} of {manifest.tiles} tiles could not be restored"
            remedy = "give the same command again to try them once more"
        elif not manifest.has_ended:
            reason = "its run has not ended"
            remedy = "give the same command again to finish it"
    path = store.name if manifest is None else manifest.identity.source.path
    return JobRow(
        label=printable(Path(path).name),
        store=store,
        state=state,
        status=status,
        reason=reason,
        remedy=remedy,
        ended=ended,
        seconds=seconds,
        manifest=manifest,
    )


def _seconds(manifest: Manifest) -> float:
    return 0.0 if manifest.summary is None else manifest.summary.fit_seconds


def _manifest(store: Path) -> Manifest | None:
    try:
        return read_manifest(store)
    except StoreError:
        return None


def _results(folder: Path, depth: int = 0) -> Iterator[Path]:
    """Results in a folder and the folders below it; what is inside a result is passed over."""
    for path in folder.iterdir():
        if path.name.startswith(".") or not path.is_dir():
            continue
        if is_result(path):
            yield path
        elif depth < DEEPEST:
            yield from _results(path, depth + 1)
