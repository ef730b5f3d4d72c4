"""Why an image could not be restored: whether that may pass by itself, and what can be done about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from glassplate.flows.report.text import reason
from glassplate.pipeline.errors import (
    BusyError,
    CapacityError,
    ChangedError,
    DiskFullError,
    GlassplateError,
    NoRoomError,
    PassingError,
    SourceChangedError,
    SourceError,
    StoreError,
    UsageError,
    is_disk_full,
    is_unreachable,
)

# Failures of a kind that is not known, after which an image is not tried again by itself.
MOST_ATTEMPTS = 3


class LimitReachedError(PassingError):
    """A limit of the job has ended the work on an image; the next run resumes it."""


@dataclass(frozen=True)
class Verdict:
    """What a failure means for an image."""

    passing: bool
    """Whether the same attempt may succeed later, so that the image is tried again."""
    known: bool
    """Whether the kind of the failure is known. An unknown one is tried again a few times."""
    reason: str
    remedy: str
    disk_full: bool = False
    """Whether no other image can be restored either."""
    limited: bool = False
    """Whether a limit of the job was reached."""


REMEDIES: tuple[tuple[type[BaseException], str], ...] = (
    (LimitReachedError, "none: the next run goes on with it"),
    (BusyError, "none: the next run looks at it again"),
    (NoRoomError, "free some disk; the next run tries again"),
    (SourceChangedError, "none: the next run begins anew with what the file holds then"),
    (PassingError, "none, if the workers and the disk are there: the next run tries again"),
    (CapacityError, "give the machine more memory, or lower what the message names"),
    (ChangedError, "set changed: redo or changed: keep-both in the job"),
    (StoreError, "remove the result and run the job again"),
    (SourceError, "replace the file or exclude it from the job"),
    (UsageError, "correct the job or the recipe"),
    (GlassplateError, "change the recipe, or exclude the image from the job"),
)
OTHER_REMEDY = "report it if the file is good: this kind of failure is not known"


def verdict_of(error: Exception) -> Verdict:
    """Judge what has ended the work on an image."""
    why = reason(error)
    if any(is_disk_full(one) or isinstance(one, DiskFullError) for one in _chain(error)):
        remedy = "free some disk; the next run tries again"
        return Verdict(True, True, why, remedy, disk_full=True)
    if _is_passing(error):
        limited = isinstance(error, LimitReachedError)
        remedy = _remedy(error) or "none: the next run tries again"
        return Verdict(True, True, why, remedy, limited=limited)
    known = isinstance(error, GlassplateError)
    return Verdict(False, known, why, _remedy(error) or OTHER_REMEDY)


def _is_passing(error: Exception) -> bool:
    if isinstance(error, GlassplateError):
        return error.passing
    from glassplate.models.device.arithmetic import is_out_of_memory  # imports torch

    return any(
        isinstance(one, MemoryError | TimeoutError | ConnectionError)
        or is_unreachable(one)
        or (isinstance(one, RuntimeError) and is_out_of_memory(one))
        for one in _chain(error)
    )


def _remedy(error: Exception) -> str | None:
    return next((text for kind, text in REMEDIES if isinstance(error, kind)), None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those that caused it."""
    while error is not None:
        yield error
        error = error.__cause__
