"""Errors a caller can act on; each message is one line: the thing, the value, the limit, the way out."""

import errno
from pathlib import Path

# Errors of the operating system that say nothing about a file: its disk or its server does not answer.
_AWAY = frozenset(
    {
        errno.EIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.EAGAIN,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENOTCONN,
        errno.ECONNRESET,
        errno.ECONNREFUSED,
        errno.EREMOTEIO,
        errno.ENFILE,
        errno.EMFILE,
    }
)


class GlassplateError(Exception):
    """Base of every error this package raises on purpose.

    `exit_code` is what the command line ends with when nothing catches it. `passing` says that the cause is
    one of the moment, and that the same request may be granted later: a worker that is gone, a full disk.
    """

    exit_code = 1
    passing = False


class PassingError(GlassplateError):
    """A run could not go on for a reason of the moment; what is done is kept."""

    passing = True


class DiskFullError(PassingError):
    """The disk or the quota is exhausted in the middle of a run."""


class UsageError(GlassplateError, ValueError):
    """The request cannot be granted: an unknown key, an impossible value, a foreign output path."""

    exit_code = 2


class BusyError(UsageError):
    """Another run is writing the output."""

    passing = True


class SourceError(GlassplateError, OSError):
    """The input cannot be read or holds nothing to restore."""

    exit_code = 2


class SourceAwayError(SourceError):
    """The disk or the server of the input does not answer."""

    passing = True


class SourceChangedError(SourceError):
    """An input has changed while it was looked at or restored; what it holds then can be restored."""

    passing = True


class CapacityError(GlassplateError):
    """Projected memory or disk exceeds what is there; refused before anything runs."""

    exit_code = 2


class NoRoomError(CapacityError):
    """The disk has too little free space."""

    passing = True


class StoreError(GlassplateError):
    """A result on disk is damaged, foreign, or belongs to another run."""

    exit_code = 2


class SpoiledError(StoreError):
    """An input changed while a result was made from it, so that no tile can be trusted."""

    def __init__(self, store: Path) -> None:
        super().__init__(
            f"{store}: an input changed while it was made; remove it and give the same command again"
        )
        self.store = store


class ChangedError(StoreError):
    """A result was made from another input, by another recipe or by other software.

    Parameters
    ----------
    store
        The result.
    difference
        The first difference, as a clause: "made with torch 2.1, this is 2.2".
    ended
        Whether its run has ended, so that the result can be used as it is.
    """

    def __init__(self, store: Path, difference: str, *, ended: bool) -> None:
        super().__init__(
            f"{store}: {difference}; choose another -o, or remove {store} to start afresh"
        )
        self.store = store
        self.difference = difference
        self.ended = ended


def is_disk_full(error: BaseException) -> bool:
    """Whether an error reports a full disk or an exhausted quota."""
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}


def is_unreachable(error: BaseException) -> bool:
    """Whether an error reports that a disk or a server does not answer."""
    return isinstance(error, OSError) and error.errno in _AWAY
