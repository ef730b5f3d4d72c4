"""What is known of one image of a job: one line of its account."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from glassplate.flows.accounts.stamps import FileStamp
from glassplate.flows.report.status import Status
from glassplate.pipeline.pages.job_account import STATES, State


@dataclass(frozen=True)
class InputFile:
    """A file that a result was made from."""

    sha256: str
    stamp: FileStamp | None
    """State of the file when it was read; None if that is not known for sure."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One image of a job."""

    image: str
    """Absolute path of the file."""
    part: str = ""
    """The HDU or page that the job names; empty if it names none."""
    name: str
    """Result that the job asks for, as a path below the output folder. It is the key of the entry."""
    result: str
    """Result that is there or is made; another than `name` if an earlier one is kept."""
    state: State
    status: Status
    """The state in more detail."""
    reason: str = ""
    """Why the image is not restored, on one line."""
    remedy: str = ""
    """What has to be done about it, on one line."""
    lasting: bool = False
    """Whether the image is not tried again until one of its files, its settings or its result change."""
    attempts: int = 0
    """Attempts that failed since then for a reason that may be lasting."""
    started: str | None = None
    """Start of the last attempt, ISO 8601, UTC."""
    ended: str | None = None
    """End of the last attempt."""
    seconds: float = 0.0
    """Duration of the last attempt."""
    job: str = ""
    """Name of the job."""
    flow_run: str = ""
    """Id of the last run of the job in Prefect that has looked at the image."""
    asked: str = ""
    """SHA-256 of what the job asks for: recipes, HDU, companions."""
    declined: str = ""
    """The same for a request that `changed: skip` did not grant."""
    recipe_sha256: str = ""
    """SHA-256 of the resolved recipes."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Version of the software that made the result."""
    run_id: str = ""
    """Id of the run of the result, as in its manifest."""
    inputs: Mapping[str, InputFile] = field(default_factory=dict)
    """The image and its companions, by absolute path."""
    companions_beside: tuple[str, ...] = ()
    """Files that are companions of the image by their names."""
    manifest: FileStamp | None = None
    """State of the manifest of the result."""
    files: str = ""
    """State of all files of the result (`tree_stamp`) when it was made, or when it was found undamaged."""
    complete: bool = False
    """Whether the result is complete."""
    tiles: int = 0
    exports: Mapping[str, FileStamp | None] = field(default_factory=dict)
    """State of each file that the result was exported to, by absolute path."""
    facts: Mapping[str, Any] | None = None
    """What rules and names have read of the image."""

    def to_json(self) -> dict[str, Any]:
        """Return the entry as JSON values, without those that are empty by default."""
        return {
            key: value
            for key, value in dataclasses.asdict(self).items()
            if value or key in _REQUIRED
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Entry:
        """Read an entry; keys of a later release are passed over.

        Raises
        ------
        LookupError, TypeError, ValueError
            If the document is not that of an entry.
        """
        known = {name: document[name] for name in _FIELDS & document.keys()}
        if known["state"] not in STATES:
            raise ValueError(f"state {known['state']}")
        known["inputs"] = {
            path: InputFile(file["sha256"], _stamp(file["stamp"]))
            for path, file in known.get("inputs", {}).items()
        }
        known["exports"] = {path: _stamp(s) for path, s in known.get("exports", {}).items()}
        known["manifest"] = _stamp(known.get("manifest"))
        known["companions_beside"] = tuple(known.get("companions_beside", ()))
        return cls(**known)


_FIELDS = {one.name for one in dataclasses.fields(Entry)}
_REQUIRED = frozenset({"image", "name", "result", "state", "status"})


def _stamp(values: Any) -> FileStamp | None:
    return None if values is None else FileStamp(*values)


def now() -> str:
    """Return the time, ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
