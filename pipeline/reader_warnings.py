"""Warnings of the file readers, collected for the log and the metadata, and kept off the terminal."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar

# Largest number of messages kept: some files cause one for each card or page.
MOST_MESSAGES = 20

_log = logging.getLogger(__name__)

# What becomes of a message in this thread. Python's warnings and the log of tifffile belong to the whole
# process, and several images may be read at once: they are intercepted once for all, and each image gets its
# own.
_keep: ContextVar[Callable[[str], None] | None] = ContextVar("keep", default=None)
_guard = threading.Lock()
_users = 0
_interception = ExitStack()


@contextmanager
def collected_warnings(origin: object) -> Iterator[list[str]]:
    """Collect the warnings of astropy and the log messages of tifffile while the body runs.

    Those of other threads are not collected, unless they run in a copy of this thread's context.

    Parameters
    ----------
    origin
        Named in this package's log, usually a path.

    Yields
    ------
    messages
        One line each, without repetition, filled while the body runs.
    """
    messages: list[str] = []

    def keep(text: str) -> None:
        line = " ".join(text.split())
        if line not in messages and len(messages) < MOST_MESSAGES:
            messages.append(line)

    with _intercepted():
        before = _keep.set(keep)
        try:
            yield messages
        finally:
            _keep.reset(before)
    for message in messages:
        _log.info("%s: %s", origin, message)


@contextmanager
def _intercepted() -> Iterator[None]:
    """Intercept messages from the first user on until the last one is done."""
    global _users
    with _guard:
        if _users == 0:
            _intercept()
        _users += 1
    try:
        yield
    finally:
        with _guard:
            _users -= 1
            if _users == 0:
                _interception.close()


def _intercept() -> None:
    _interception.enter_context(warnings.catch_warnings())
    warnings.simplefilter("always")
    warnings.showwarning = lambda message, *_, **__: _pass_on(str(message))
    logger, handler = logging.getLogger("tifffile"), _Handler(logging.WARNING)
    _interception.callback(setattr, logger, "propagate", logger.propagate)
    _interception.callback(logger.removeHandler, handler)
    logger.addHandler(handler)
    logger.propagate = False


def _pass_on(text: str) -> None:
    """Give a message to the body that runs in this thread; one of any other code goes to the log."""
    keep = _keep.get()
    if keep is None:
        _log.info("%s", text)
    else:
        keep(text)


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _pass_on(record.getMessage())
