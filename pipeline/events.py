"""Events of a run, for progress bars, logs and Prefect; the core itself prints nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Stage = Literal["donor", "restore", "stitch", "pyramid", "record", "export"]


@dataclass(frozen=True)
class RunStarted:
    """A run begins or resumes."""

    source: Path
    """Image that is restored."""
    store: Path
    """Result that is written."""
    tiles: int
    """Tiles of the plan."""
    done: int
    """Tiles that earlier sessions finished."""


@dataclass(frozen=True)
class StageStarted:
    """One of the stages of a run begins."""

    store: Path
    stage: Stage
    total: int
    """Units of the stage: iterations of the donor; tiles; shards of the level that is written; else 1."""


@dataclass(frozen=True)
class FitProgress:
    """A fit is under way; sent at most once a second for each worker."""

    store: Path
    tile: int
    """Index of the tile in the plan."""
    iteration: int
    """Iterations done."""
    iterations: int
    """Most iterations of the fit."""
    seconds: float
    """Time spent in this fit so far."""


@dataclass(frozen=True)
class TileDone:
    """One attempt at a tile ended."""

    store: Path
    tile: int
    ok: bool
    iterations: int
    stop_reason: str
    """Why the fit ended, or the error where `ok` is false."""
    seconds: float


@dataclass(frozen=True)
class StageAdvanced:
    """Units of a stage other than `restore` are done."""

    store: Path
    stage: Stage
    done: int
    total: int


@dataclass(frozen=True)
class Warned:
    """The user should know something that does not stop the run."""

    store: Path
    message: str


@dataclass(frozen=True)
class Noted:
    """The user should know something that is as it should be."""

    store: Path
    message: str


@dataclass(frozen=True)
class RunEnded:
    """A run ended."""

    store: Path
    status: Literal["complete", "partial"]
    seconds: float


Event: TypeAlias = (
    RunStarted | StageStarted | FitProgress | TileDone | StageAdvanced | Warned | Noted | RunEnded
)
Listener: TypeAlias = Callable[[Event], None]


def ignore_event(event: Event) -> None:
    """Ignore an event."""
