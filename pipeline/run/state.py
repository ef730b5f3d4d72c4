"""A run under way: what its stages share and find out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from glassplate.pipeline.errors import (
    DiskFullError,
    GlassplateError,
    PassingError,
    SourceAwayError,
    SourceError,
)
from glassplate.pipeline.events import Listener
from glassplate.pipeline.failures import Failure, FailureKind
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.pools.pool import Pool
from glassplate.pipeline.provenance.input_watch import InputWatch
from glassplate.pipeline.provenance.manifest import Manifest
from glassplate.pipeline.provenance.records import TileRecord
from glassplate.pipeline.tiles.donor import DonorFile


@dataclass
class Run:
    """A run under way."""

    store: Path
    plan: Plan
    pool: Pool
    listener: Listener
    inputs: InputWatch
    """Checked before anything that was made from the inputs is journalled as done."""
    manifest: Manifest
    records: dict[int, TileRecord] = field(default_factory=dict)
    """Last record of each tile that is done."""
    failures: dict[int, Failure] = field(default_factory=dict)
    """Last failure of each tile that was tried in vain."""
    donor: DonorFile | None = None
    """Weights that tiles start from; None where each starts from random ones."""

    @property
    def run_id(self) -> str:
        """Identity of the run; a resumed run keeps it."""
        return self.manifest.run_id

    @property
    def scratch_folder(self) -> Path:
        """Where restored windows wait until they are stitched."""
        return self.store / ".scratch"

    @property
    def missing(self) -> list[int]:
        """Tiles that are not done, in order."""
        return [tile for tile in range(len(self.plan.grid)) if tile not in self.records]

    @property
    def status(self) -> Literal["complete", "partial"]:
        """How the run ends, once every tile was tried."""
        return "partial" if self.missing else "complete"


def error_of(failure: Failure) -> type[GlassplateError]:
    """Class of the error by which a failure ends a run, and which says whether the cause may pass."""
    if failure.kind is FailureKind.DISK_FULL:
        return DiskFullError
    return PassingError if failure.kind.passing else GlassplateError


def refuse_damaged_source(failure: Failure) -> None:
    """Raise the `SourceError` of a worker again: later stages need the pixels that it could not read."""
    if failure.kind is FailureKind.SOURCE:
        raise SourceError(failure.message)
    if failure.kind is FailureKind.SOURCE_AWAY:
        raise SourceAwayError(failure.message)
