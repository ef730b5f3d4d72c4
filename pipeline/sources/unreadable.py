"""Files of others: what their readers raise is a refusal of one line, and what does not answer is given up.

astropy, tifffile and the codecs raise nearly anything on a damaged file: KeyError, struct.error,
RecursionError, AssertionError. None of it is a fault of this program, and a user is to hear which file
is meant.
"""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from glassplate.pipeline.errors import GlassplateError, SourceError

Answer = TypeVar("Answer")

# Seconds within which the first bytes of a file must come. No measurement: a disk that sleeps takes some ten
# seconds to wake up, a file server that is gone takes for ever.
FIRST_BYTES_S = 60.0
# Seconds within which a file must be opened, and those within which the windows that a plan looks at must
# be read. No measurement either: wide of what the largest PNG takes, which is decoded as a whole when it is
# opened (4 GiB at some 100 MB a second).
OPEN_S = 600.0


@contextmanager
def refused(named: Path, done: str = "read") -> Iterator[None]:
    """Turn whatever a file makes its readers raise into a refusal.

    Parameters
    ----------
    named
        The file as the user named it.
    done
        What cannot be done with it: "read", "looked at".

    Raises
    ------
    SourceError
        In place of any exception of the body that is no `GlassplateError`; that one is its cause.
    """
    try:
        yield
    except GlassplateError:
        raise
    except MemoryError as error:
        raise SourceError(
            f"{named}: cannot be {done}: it asks for more memory than there is; it may be damaged"
        ) from error
    # the readers raise what they please, and so a refusal must cover everything
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        raise SourceError(f"{named}: cannot be {done}: {why}; it may be damaged") from error


def answered_within(limit_s: float, named: Path, work: Callable[[], Answer]) -> Answer:
    """Do what may block in the system, such as reading from a server that is gone, for a limited time.

    It is done in a thread of its own, which is left behind where it does not end: nothing else ends a call
    that the system does not answer.

    Parameters
    ----------
    limit_s
        Seconds.
    named
        The file as the user named it.
    work
        Its result is returned, what it raises is raised.

    Raises
    ------
    SourceError
        If it takes longer.
    """
    answers: list[Answer] = []
    faults: list[BaseException] = []

    def ask() -> None:
        try:
            answers.append(work())
        except BaseException as error:  # raised again by who asked
            faults.append(error)

    thread = threading.Thread(target=ask, name=f"reading {named}", daemon=True)
    thread.start()
    thread.join(limit_s)
    if faults:
        raise faults[0]
    if not answers:
        raise SourceError(
            f"{named}: did not answer within {limit_s:.0f} s; is the disk or server it lies on there?"
        )
    return answers[0]


def check_regular(path: Path) -> None:
    """Refuse what is no file: a named pipe keeps whoever opens it waiting for ever, and a device never ends.

    Raises
    ------
    SourceError
        If there is nothing at the path, or something else.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise SourceError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from error
    if stat.S_ISREG(mode):
        return
    kinds = {
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    kind = kinds.get(stat.S_IFMT(mode), "something else")
    raise SourceError(f"{path}: is {kind}, not a file; give the file of an image")
