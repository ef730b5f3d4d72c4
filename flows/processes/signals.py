"""Requests to stop: SIGTERM, SIGINT, and reasons that this process finds itself."""

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
    """The user or the system stopped the command; finished tiles are kept."""

    exit_code = 130


# Seconds within which a second signal counts as the same request. A terminal, systemd and the supervising
# process each send their own signal, and a second KeyboardInterrupt would break off the clean-up after the
# first. It is shorter than `supervision.REPEAT_S`.
SAME_REQUEST_S = 4.0

# Seconds that a command may take to end after `stop_with`.
STOP_S = 20.0

_requests: list[float] = []
"""Times, by time.monotonic(), at which this process was asked to stop."""

_causes: list[GlassplateError] = []
"""Errors for which this process has stopped itself."""


def stop_requested() -> bool:
    """Whether this process has been asked to stop.

    An error after the request may be a consequence of it: a request during the import of a library ends
    that import, and may surface as an ImportError.
    """
    return bool(_requests)


def stop_cause() -> GlassplateError | None:
    """The error for which this process has stopped itself; None if it has not."""
    return _causes[0] if _causes else None


def interrupt_on_sigterm() -> None:
    """Make SIGTERM, by which systems stop programs, raise KeyboardInterrupt as Ctrl-C does."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    sys.unraisablehook = _hide_unraisable_interrupts


def stop_interrupting() -> None:
    """Raise no more KeyboardInterrupt, because the command is over.

    A first request to stop ends the process by the signal's default action. Later ones are ignored.
    """
    action = signal.SIG_IGN if stop_requested() else signal.SIG_DFL
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, action)


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Restore the SIGTERM handler of `interrupt_on_sigterm`, which Prefect replaces within a flow."""
    if signal.getsignal(signal.SIGINT) is not _interrupt or not _in_main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def stop_with(cause: GlassplateError) -> None:
    """Stop this process, from any thread, as Ctrl-C would; the command reports `cause`.

    If the main thread does not react, the process exits after `STOP_S` all the same.
    """
    _causes.append(cause)
    exit_after(STOP_S, cause.exit_code, f"glassplate: {cause}")
    os.kill(os.getpid(), signal.SIGINT)


def exit_after(seconds: float, code: int, last_line: str | None = None) -> None:
    """Exit from this process after some seconds if it has not ended by then.

    A process whose work is over may be kept alive by threads that wait for a file server or compute in C,
    and by what libraries do at exit.
    """

    def end() -> None:
        time.sleep(seconds)
        if last_line is not None:
            sys.stderr.write(f"{last_line}\n")  # in one piece: other threads may write too
        exit_now(code)

    threading.Thread(target=end, name="exit-after", daemon=True).start()


def exit_now(code: int) -> NoReturn:
    """Exit from this process at once, without the clean-up of libraries; printed text is flushed."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the reader is gone
            stream.flush()
    os._exit(code)


def _interrupt(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    if _requests and now - _requests[-1] < SAME_REQUEST_S:
        return
    _requests.append(now)
    raise KeyboardInterrupt


def _hide_unraisable_interrupts(unraisable: sys.UnraisableHookArgs) -> None:
    """Print nothing about a KeyboardInterrupt that cannot be raised; the supervisor repeats the signal."""
    if not (stop_requested() and isinstance(unraisable.exc_value, KeyboardInterrupt)):
        sys.__unraisablehook__(unraisable)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
