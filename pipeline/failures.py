"""Failed tasks: an error in a worker as the process that planned the task receives it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from glassplate.pipeline.errors import SourceAwayError, SourceError, is_disk_full
from glassplate.pipeline.text import one_line


class FailureKind(StrEnum):
    """Why a task failed, as far as the run acts on it."""

    DIVERGED = "diverged"
    """A fit ran to infinity; the tile is tried again with another seed."""
    IMPLAUSIBLE = "implausible"
    """A restored tile cannot be right; it is tried again with another seed."""
    SOURCE = "source"
    """The input cannot be read, which ends the run."""
    SOURCE_AWAY = "source away"
    """The disk or server of the input does not answer, which ends the run."""
    DISK_FULL = "disk full"
    """The disk or the quota is exhausted, which ends the run."""
    OUT_OF_MEMORY = "out of memory"
    """The device or the machine has too little memory for one task."""
    WORKER_DIED = "worker died"
    """The worker ended while it did the task."""
    HUNG = "hung"
    """The task gave no sign of life for too long."""
    OTHER = "other"
    """Any other error; the task is tried again."""

    @property
    def passing(self) -> bool:
        """Whether the same task may succeed later."""
        return self in _PASSING


# A fit and the writing of a shard end by themselves: what hangs is a device, a driver or a disk.
_PASSING = frozenset(
    {
        FailureKind.SOURCE_AWAY,
        FailureKind.DISK_FULL,
        FailureKind.OUT_OF_MEMORY,
        FailureKind.WORKER_DIED,
        FailureKind.HUNG,
    }
)


@dataclass(frozen=True)
class Failure:
    """A task that could not be done."""

    kind: FailureKind
    message: str
    """What the error says, in one line."""
    error: str = ""
    """Name of the error's class; empty where no error was raised."""

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """Describe an error; to be called where it is caught, since its class does not travel."""
        return cls(_kind_of(error), one_line(error), type(error).__name__)

    @property
    def reason(self) -> str:
        """Class and message of the error, in one line."""
        return f"{self.error}: {self.message}" if self.error else self.message


def _kind_of(error: Exception) -> FailureKind:
    if any(is_disk_full(one) for one in _chain(error)):
        return FailureKind.DISK_FULL
    if isinstance(error, SourceAwayError):
        return FailureKind.SOURCE_AWAY
    if isinstance(error, SourceError):
        return FailureKind.SOURCE
    if isinstance(error, FloatingPointError):
        return FailureKind.DIVERGED
    if isinstance(error, MemoryError):
        return FailureKind.OUT_OF_MEMORY
    if isinstance(error, RuntimeError):
        from glassplate.models.device.arithmetic import is_out_of_memory  # imports torch

        return FailureKind.OUT_OF_MEMORY if is_out_of_memory(error) else FailureKind.OTHER
    return FailureKind.OTHER


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those that caused it."""
    while error is not None:
        yield error
        error = error.__cause__
