"""Errors a caller can act on; each message is one line: the thing, the value, the limit, the way out."""

import errno


class GlassplateError(Exception):
    """Base of every error this package raises on purpose.

    `exit_code` is what the command line ends with when nothing catches it.
    """

    exit_code = 1


class UsageError(GlassplateError, ValueError):
    """The request cannot be granted: an unknown key, an impossible value, a foreign output path."""

    exit_code = 2


class SourceError(GlassplateError, OSError):
    """The input cannot be read or holds nothing to restore."""

    exit_code = 2


class CapacityError(GlassplateError):
    """Projected memory or disk exceeds what is there; refused before anything runs."""

    exit_code = 2


class StoreError(GlassplateError):
    """A result on disk is damaged, foreign, or belongs to another run."""

    exit_code = 2


def is_disk_full(error: BaseException) -> bool:
    """Whether an error reports a full disk or an exhausted quota."""
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
