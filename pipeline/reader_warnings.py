"""Warnings of the file readers, collected for the log and the metadata, and kept off the terminal."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Largest number of messages kept: some files cause one for each card or page.
MOST_MESSAGES = 20

_log = logging.getLogger(__name__)


@contextmanager
def collected_warnings(origin: object) -> Iterator[list[str]]:
    """Collect the warnings of astropy and the log messages of tifffile while the body runs.

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

    handler = _Keeper(keep)
    logger = logging.getLogger("tifffile")
    propagated = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = lambda message, *_, **__: keep(str(message))
            yield messages
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagated
    for message in messages:
        _log.info("%s: %s", origin, message)


class _Keeper(logging.Handler):
    def __init__(self, keep: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._keep = keep

    def emit(self, record: logging.LogRecord) -> None:
        self._keep(record.getMessage())
