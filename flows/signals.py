"""Being told to stop."""

from __future__ import annotations

import signal
from types import FrameType

from glassplate.pipeline.errors import GlassplateError


class Interrupted(GlassplateError):
    """The user or the system stopped the command; what is done is kept."""

    exit_code = 130


# Seconds after which a request to stop is repeated. Python drops an exception that is raised inside a
# finaliser or a callback of another library, and the request with it; closing a pool takes up to ten.
REMIND_S = 30.0


_asked: list[int] = []
"""Signals that asked this process to stop."""


def asked_to_stop() -> bool:
    """Whether a signal has asked this process to stop: what fails after it may have failed for it.

    A request that arrives while a library is being imported ends that import, and may come out of it as an
    ImportError.
    """
    return bool(_asked)


def interrupt_on_sigterm() -> None:
    """Let SIGTERM, with which systems stop programs, do what Ctrl-C does; neither is ever lost."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _asked.append(number)
    signal.setitimer(signal.ITIMER_REAL, REMIND_S)
    raise KeyboardInterrupt
