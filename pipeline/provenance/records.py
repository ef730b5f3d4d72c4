"""Records in the journals of a result: one for each attempt at a tile, for its donor, for each shard.

A record is a line of JSON. Lines of earlier versions, which lack some keys or have others, are read too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter

from glassplate.pipeline.errors import StoreError
from glassplate.pipeline.failures import Failure, FailureKind
from glassplate.pipeline.provenance.folder import provenance_path
from glassplate.pipeline.provenance.journal import read_journal

Record = TypeVar("Record")


def tiles_journal(store: Path) -> Path:
    """Journal of every attempt at every tile."""
    return provenance_path(store, "tiles.jsonl")


def donor_journal(store: Path) -> Path:
    """Journal of the one donor."""
    return provenance_path(store, "donor.jsonl")


def shards_journal(store: Path) -> Path:
    """Journal of the shards that are written, of every level."""
    return provenance_path(store, "shards.jsonl")


@dataclass(frozen=True)
class TileRecord:
    """A tile that is restored.

    What is None was not measured, is infinite, or belongs to a fit where the tile was copied.
    """

    tile: int
    """Index of the tile in the plan."""
    attempt: int
    """0 for the first."""
    crc32: int
    """Of the file of its window."""
    iterations: int
    """0 for a copy."""
    stop_reason: str
    """Why the fit ended, or why the tile was copied."""
    seconds: float
    """Time of the fit or the copy."""
    filled: int = 0
    """Invalid pixels of its core that were filled."""
    kept_rays: int = 0
    """Pixels of its core that were taken for cosmic rays, but stay as measured, as filling brightens them."""
    wild: int = 0
    """Pixels of its core whose value is impossible."""
    host: str = ""
    pid: int = 0
    ended: float = 0.0
    """Seconds since the epoch."""
    seed: int | None = None
    start: Literal["donor", "random"] | None = None
    """Weights that the fit started from."""
    log_crc32: int | None = None
    """Of the file of its iteration log; None for a copy."""
    best_iteration: int | None = None
    """The iteration whose average is the answer."""
    heldout_loss: float | None = None
    """Loss on the pixels kept from the fit, at the best iteration."""
    chi2: float | None = None
    """Mean squared residual over the noise variance, valid pixels."""
    whiteness: float | None = None
    """Lag-1 autocorrelation of the residual."""
    guarded: int | None = None
    """Pixels of faint sources that were given back."""
    slots: int | None = None
    """Fits that advanced together on the device."""

    @property
    def fitted(self) -> bool:
        """Whether a network was fitted; else the window was copied."""
        return self.log_crc32 is not None

    def to_json(self) -> dict[str, Any]:
        """For the journal; a copy has no keys of a fit."""
        line = {
            key: value for key, value in asdict(self).items() if self.fitted or value is not None
        }
        return {"ok": True, **line}


@dataclass(frozen=True)
class FailedTile:
    """An attempt at a tile that failed."""

    tile: int
    """Index of the tile in the plan."""
    attempt: int
    """0 for the first."""
    failure: Failure

    def to_json(self) -> dict[str, Any]:
        """For the journal."""
        return {
            "tile": self.tile,
            "attempt": self.attempt,
            "ok": False,
            "kind": self.failure.kind.value,
            "error": self.failure.reason,
        }


@dataclass(frozen=True)
class DonorRecord:
    """The donor of an image, fitted or taken over."""

    sha256: str
    """Of the file of its weights."""
    before: str | None = None
    """SHA-256 of the weights that it started from; None for random ones."""
    iterations: int = 0
    """0 for weights taken over as they are."""
    windows: int = 0
    """Windows that it was fitted to."""
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """For the journal."""
        return {"ok": True, **asdict(self)}


@dataclass(frozen=True)
class ShardRecord:
    """A shard of one level that is written."""

    level: int
    shard: int
    missing: list[int]
    """Tiles that were quarantined when it was written, in order."""
    files: Mapping[str, str]
    """SHA-256 of each of its files, by path in the result."""

    def to_json(self) -> dict[str, Any]:
        """For the journal."""
        return asdict(self)


_TILE, _DONOR, _SHARD = TypeAdapter(TileRecord), TypeAdapter(DonorRecord), TypeAdapter(ShardRecord)


def read_tile_records(store: Path, run_id: str | None = None) -> list[TileRecord | FailedTile]:
    """Attempts at tiles in the order in which they ended; parameters and errors as of `read_journal`."""
    return _read(tiles_journal(store), run_id, _attempt)


def read_donor_records(store: Path, run_id: str | None = None) -> list[DonorRecord]:
    """Donors of a result in the order in which they were made; see `read_journal`."""
    return _read(donor_journal(store), run_id, _DONOR.validate_python)


def read_shard_records(store: Path, run_id: str | None = None) -> list[ShardRecord]:
    """Shards of a result in the order in which they were written; see `read_journal`."""
    return _read(shards_journal(store), run_id, _SHARD.validate_python)


def _attempt(line: Mapping[str, Any]) -> TileRecord | FailedTile:
    if line["ok"]:
        return _TILE.validate_python(line)
    kind = FailureKind(line.get("kind", FailureKind.OTHER))
    return FailedTile(line["tile"], line["attempt"], Failure(kind, line["error"]))


def _read(
    path: Path, run_id: str | None, record_of: Callable[[Mapping[str, Any]], Record]
) -> list[Record]:
    try:
        return [record_of(line) for line in read_journal(path, run_id)]
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"{path}: a line is damaged; remove the result and restore it anew"
        ) from error
