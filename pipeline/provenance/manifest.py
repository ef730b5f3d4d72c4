"""The manifest of a run, ``manifest.json``: identity, plan, sessions, summary and exports of a result.

The manifest alone is enough to run the restoration again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from glassplate.pipeline.errors import StoreError
from glassplate.pipeline.files import sha256_of
from glassplate.pipeline.provenance.folder import MANIFEST, provenance_path, write_json
from glassplate.pipeline.provenance.identity import RunIdentity, file_identity
from glassplate.pipeline.provenance.machine import Machine
from glassplate.pipeline.provenance.recorded_plan import RecordedPlan

# Version of the JSON document. It changes when an older release can no longer read a manifest.
VERSION = 1

Status = Literal["running", "partial", "complete", "spoiled"]
"""State of a run; ``spoiled`` if an input changed and no tile can be trusted."""


@dataclass(frozen=True)
class Session:
    """One process that worked on a run, from its start or resumption to its end."""

    started: str
    """Time, ISO 8601, UTC."""
    ended: str | None
    """None while the session lasts, and if the process was killed."""
    pool: str
    """``inline``, ``local`` or the address of the scheduler."""
    workers: int
    machine: Machine
    context: dict[str, str] = field(default_factory=dict)
    """What asked for the session, for example the id of a flow run."""


@dataclass(frozen=True)
class Spread:
    """Distribution of a value over the tiles: 5th percentile, median and 95th percentile."""

    low: float
    median: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a user wants to know first about a result. Values are in source units."""

    noise_before: float | None
    """Standard deviation of the input's noise in its flattest places."""
    noise_after: float | None
    """Standard deviation of what is left of it there, on the grid of the input."""
    noise_model: str
    """Where the noise model comes from, for example ``estimated: gaussian``."""
    companions: tuple[str, ...] = ()
    """The mask and the noise that came with the image, one line each."""
    unit: str | None = None
    iterations: float
    """Mean over the tiles."""
    chi2: Spread | None
    """None if no tile was fitted."""
    filled_pixels: int
    kept_rays: int = 0
    """Pixels that were taken for cosmic rays, but stay as measured, as filling would have brightened them."""
    wild_pixels: int = 0
    """Pixels that were judged invalid by the limits in the plan."""
    guarded_pixels: int = 0
    """Pixels of faint sources that were restored to their measured value."""
    stop_reasons: dict[str, int]
    """Number of tiles by the reason why their fit stopped."""
    fit_seconds: float
    quarantined: dict[str, str]
    """Reason of the failure of each tile that is missing, by tile number."""


@dataclass(frozen=True)
class ExportRecord:
    """A file that the result was exported to, as it was written."""

    path: str
    """Absolute."""
    bytes: int
    sha256: str

    @classmethod
    def of(cls, target: Path) -> ExportRecord:
        """Record a file by its present content."""
        file = file_identity(target)
        return cls(file.path, file.bytes, file.sha256)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The record of a run. Early manifests lack `provenance` and `exports`."""

    run_id: str
    status: Status
    created: str
    """Time, ISO 8601, UTC."""
    recipe_name: str
    recipe: dict[str, Any]
    """The resolved recipe as JSON. It stays a document: its hash is that of the run's identity, and it may
    have keys of an earlier release."""
    identity: RunIdentity
    plan: RecordedPlan
    sessions: tuple[Session, ...] = ()
    summary: Summary | None = None
    """None until the run has ended."""
    provenance: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the other files of the provenance folder, once the run has ended."""
    exports: tuple[ExportRecord, ...] = ()

    @property
    def tiles(self) -> int:
        """Number of tiles of the plan."""
        return self.plan.tiles

    @property
    def has_ended(self) -> bool:
        """Whether the result is complete, or partial with some tiles quarantined."""
        return self.status in ("complete", "partial")

    @property
    def final_summary(self) -> Summary:
        """Summary of a run that has ended."""
        if self.summary is None:
            raise ValueError(f"run {self.run_id} has status {self.status} and no summary")
        return self.summary

    def with_session(self, session: Session) -> Manifest:
        """Begin a session. Checksums and exports of an earlier partial result no longer hold."""
        sessions = (*self.sessions, session)
        return replace(self, status="running", sessions=sessions, provenance={}, exports=())

    def with_result(self, status: Literal["complete", "partial"], summary: Summary) -> Manifest:
        """End the last session with a result."""
        *earlier, last = self.sessions
        sessions = (*earlier, replace(last, ended=now()))
        return replace(self, status=status, summary=summary, sessions=sessions)

    def with_export(self, target: Path) -> Manifest:
        """Record the file that the result has just been exported to."""
        return self.with_record(ExportRecord.of(target))

    def with_record(self, record: ExportRecord) -> Manifest:
        """Record an export in place of an earlier one of the same path."""
        others = (other for other in self.exports if other.path != record.path)
        return replace(self, exports=(*others, record))

    def has_record(self, record: ExportRecord) -> bool:
        """Whether an export of this content is recorded, under any name."""
        return record.sha256 in {other.sha256 for other in self.exports}

    def has_export(self, target: Path) -> bool:
        """Whether a file is an export of this run with unchanged content, under any name."""
        sizes = {record.bytes for record in self.exports}
        if not target.is_file() or target.stat().st_size not in sizes:
            return False
        return sha256_of(target) in {record.sha256 for record in self.exports}

    def to_json(self) -> dict[str, Any]:
        """Return the document as it is written."""
        return {"glassplate_manifest": VERSION, **asdict(self)}


_MANIFEST = TypeAdapter(Manifest)


def now() -> str:
    """Return the time, ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def parse_manifest(document: Mapping[str, Any]) -> Manifest:
    """Build a manifest from its JSON document.

    Raises
    ------
    ValueError
        If a value is missing or has a wrong type.
    """
    manifest = _MANIFEST.validate_python(document)
    if manifest.has_ended and manifest.summary is None:
        raise ValueError("the run has ended without a summary")
    return manifest


def read_manifest(store: Path) -> Manifest:
    """Read the manifest of a result.

    Raises
    ------
    StoreError
        If it is missing, damaged or of another version.
    """
    path = provenance_path(store, MANIFEST)
    try:
        document = json.loads(path.read_text("utf-8"))
        version = document["glassplate_manifest"]
        if version == VERSION:
            return parse_manifest(document)
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise StoreError(f"{store}: its manifest {path.name} is missing or damaged") from error
    raise StoreError(
        f"{store}: its manifest {path.name} has version {version}, this release reads version {VERSION}; "
        "use the release that made the result"
    )


def write_manifest(store: Path, manifest: Manifest) -> None:
    """Write the manifest of a result atomically."""
    write_json(provenance_path(store, MANIFEST), manifest.to_json())


def finished_manifest(store: Path) -> Manifest | None:
    """Read the manifest of a complete result; None if there is none, or no readable manifest."""
    try:
        manifest = read_manifest(store)
    except StoreError:
        return None
    return manifest if manifest.status == "complete" else None
