"""Being told to stop."""

from __future__ import annotations

import signal
from types import FrameType

from glassplate.pipeline.errors import GlassplateError


class Interrupted(GlassplateError):
    """The user or the system stopped the command; what is done is kept."""

    exit_code = 130


def interrupt_on_sigterm() -> None:
    """Let SIGTERM, with which systems stop programs, do what Ctrl-C does."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
