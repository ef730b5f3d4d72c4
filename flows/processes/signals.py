"""Being told to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from glassplate.pipeline.errors import GlassplateError


class Interrupted(GlassplateError):
    """The user or the system stopped the command; what is done is kept."""

    exit_code = 130


# Seconds for which a second request to stop is taken for the first: a terminal, systemd and the process above
# this one each send their own, and each would end the tidying up after the one before. Shorter than the time
# after which `supervision` repeats it.
ONE_REQUEST_S = 4.0

# Seconds that a command may take to end after `stop_for`.
STOP_S = 20.0

_asked: list[float] = []
"""When this process was asked to stop, by time.monotonic()."""

_causes: list[GlassplateError] = []
"""Why this process has told itself to stop."""


def asked_to_stop() -> bool:
    """Whether this process has been asked to stop: what fails after it may have failed for it.

    A request that arrives while a library is being imported ends that import, and may come out of it as an
    ImportError.
    """
    return bool(_asked)


def stopped_because() -> GlassplateError | None:
    """Why the process has told itself to stop; None where nothing but a signal told it, or nothing."""
    return _causes[0] if _causes else None


def interrupt_on_sigterm() -> None:
    """Let SIGTERM, with which systems stop programs, do what Ctrl-C does."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    sys.unraisablehook = _complain_unless_stopping


def no_more_interrupts() -> None:
    """Raise nothing any more, now that the command is over; a first request to stop ends the process."""
    action = signal.SIG_IGN if asked_to_stop() else signal.SIG_DFL
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, action)


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Keep SIGTERM where `interrupt_on_sigterm` has put it, though Prefect has its own in a flow."""
    if signal.getsignal(signal.SIGINT) is not _interrupt or not _in_main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def stop_for(cause: GlassplateError) -> None:
    """Stop this process from any of its threads, as Ctrl-C would, for a cause of its own.

    Where the main thread does not hear it, the process ends all the same after `STOP_S`.
    """
    _causes.append(cause)
    end_within(STOP_S, cause.exit_code, f"glassplate: {cause}")
    os.kill(os.getpid(), signal.SIGINT)


def end_within(seconds: float, code: int, last_line: str | None = None) -> None:
    """End this process after a while where it has not ended by itself.

    Threads that wait for a file server or compute in C, and what libraries do at the end, may keep a
    process whose work is over.
    """

    def end() -> None:
        time.sleep(seconds)
        if last_line is not None:
            sys.stderr.write(f"{last_line}\n")  # at once: other threads may write, too
        end_now(code)

    threading.Thread(target=end, name="last-resort", daemon=True).start()


def end_now(code: int) -> NoReturn:
    """End this process at once; what it has printed is kept."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(code)


def _interrupt(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    if _asked and now - _asked[-1] < ONE_REQUEST_S:
        return
    _asked.append(now)
    raise KeyboardInterrupt


def _complain_unless_stopping(unraisable: sys.UnraisableHookArgs) -> None:
    """Say nothing of a request to stop that came where nothing can be raised: it is repeated."""
    if not (asked_to_stop() and isinstance(unraisable.exc_value, KeyboardInterrupt)):
        sys.__unraisablehook__(unraisable)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
