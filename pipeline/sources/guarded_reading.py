"""Reading files that may be damaged or may not answer: every failure is a `SourceError` that names the file.

astropy, tifffile and the codecs raise nearly anything on a damaged file: KeyError, struct.error,
RecursionError, AssertionError. Such an exception is not a fault of this program, and by itself it does not
tell the user which file is meant.
"""

from __future__ import annotations

import contextvars
import math
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from glassplate.pipeline.errors import (
    GlassplateError,
    SourceAwayError,
    SourceError,
    is_unreachable,
)
from glassplate.pipeline.text import one_line_with_type

Answer = TypeVar("Answer")

# Seconds within which the first bytes of a file must be read. Not measured: a sleeping disk takes some ten
# seconds to wake up, and a file server that is gone never answers.
FIRST_BYTES_S = 60.0
# Seconds within which a file must be opened, a window be read, and all windows that a plan samples.
# Not measured either: far more than the largest PNG takes, which is decoded as a whole when it is opened
# (4 GiB at some 100 MB a second).
OPEN_S = 600.0

# Seconds for which somebody waits for the work of this context already.
_waited_for_s: contextvars.ContextVar[float] = contextvars.ContextVar(
    "waited_for_s", default=math.inf
)


@contextmanager
def as_source_errors(named: Path, done: str = "read") -> Iterator[None]:
    """Turn every exception of the body into a `SourceError` that names the file.

    Parameters
    ----------
    named
        The file as the user named it.
    done
        What cannot be done with it: "read" or "looked at".

    Raises
    ------
    SourceError
        In place of any exception that is not a `GlassplateError`; the original is its cause. It is a
        `SourceAwayError` if the disk or server of the file does not answer.
    """
    try:
        yield
    except GlassplateError:
        raise
    except MemoryError as error:
        raise SourceError(
            f"{named}: cannot be {done}: it asks for more memory than there is; it may be damaged"
        ) from error
    # a reader may raise any exception
    except Exception as error:
        why = one_line_with_type(error)
        if is_unreachable(error):
            raise SourceAwayError(
                f"{named}: cannot be {done}: {why}; is the disk or server it lies on there?"
            ) from error
        raise SourceError(f"{named}: cannot be {done}: {why}; it may be damaged") from error


def answered_within(limit_s: float, named: Path, work: Callable[[], Answer]) -> Answer:
    """Call a function that may block in the operating system, and wait for it for a limited time.

    The call runs in a thread of its own, which is abandoned when the time is over: a blocked system call,
    such as a read from a file server that is gone, cannot be interrupted. Within such a call of the same or a
    shorter time the function is simply called.

    Parameters
    ----------
    limit_s
        Seconds.
    named
        The file as the user named it.
    work
        Its result is returned, and its exception is raised.

    Raises
    ------
    SourceAwayError
        If the call takes longer.
    """
    if _waited_for_s.get() <= limit_s:
        return work()
    answers: list[Answer] = []
    faults: list[BaseException] = []
    context = contextvars.copy_context()  # which collects the warnings of this image
    context.run(_waited_for_s.set, limit_s)

    def ask() -> None:
        try:
            answers.append(context.run(work))
        except BaseException as error:  # raised again in the calling thread
            faults.append(error)

    thread = threading.Thread(target=ask, name=f"reading {named}", daemon=True)
    thread.start()
    thread.join(limit_s)
    if faults:
        raise faults[0]
    if not answers:
        raise SourceAwayError(
            f"{named}: did not answer within {limit_s:.0f} s; is the disk or server it lies on there?"
        )
    return answers[0]


def file_state(path: Path) -> tuple[int, int] | None:
    """Size and modification time of a file, by which a change is noticed; None where there is no file.

    Raises
    ------
    SourceError
        If the disk or server does not answer.
    """

    def look() -> tuple[int, int] | None:
        try:
            status = path.stat()
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns

    return answered_within(FIRST_BYTES_S, path, look)


def check_regular(path: Path) -> None:
    """Refuse what is not a regular file: opening a named pipe may wait for ever, and a device has no end.

    Raises
    ------
    SourceError
        If there is no such file, or it is of another kind.
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
    folder = "; a folder of images needs a job (`glassplate batch`)" if stat.S_ISDIR(mode) else ""
    raise SourceError(f"{path}: is {kind}, not a file; give the file of an image{folder}")
