"""Processes that must not go on without each other: a command and Prefect's server, a run and its service.

Prefect's client asks a server that is gone again for minutes, its runner for ever, and a run that a service
has started goes on when the service is killed.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn
from urllib.parse import urlsplit

import psutil

from glassplate.flows.processes.signals import asked_to_stop, stop_for
from glassplate.flows.processes.supervision import kill_descendants
from glassplate.pipeline.errors import GlassplateError

SERVED_BY = "GLASSPLATE_SERVED_BY"
"""Environment variable: the process of the service that has started this one."""

# Seconds between two looks.
LOOK_S = 1.0

# Seconds that a connection may take.
CONNECT_S = 5.0


@contextmanager
def watched(
    is_there: Callable[[], bool], gone_s: float, loss: Callable[[], GlassplateError]
) -> Iterator[None]:
    """Stop this process when what it needs has been gone for a while.

    Parameters
    ----------
    is_there
        Looks; called about once a second in a thread of its own.
    gone_s
        Seconds without it after which the process is stopped.
    loss
        What it is then stopped for (`signals.stop_for`).
    """
    over = threading.Event()

    def look() -> None:
        seen = time.monotonic()
        while not over.wait(LOOK_S):
            if is_there():
                seen = time.monotonic()
            elif time.monotonic() - seen >= gone_s:
                if not (over.is_set() or asked_to_stop()):
                    stop_for(loss())
                return

    threading.Thread(target=look, name="watch", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def answers(url: str) -> bool:
    """Whether something listens where a URL points."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), CONNECT_S):
            return True
    except OSError:
        return False


def announce_service() -> None:
    """Let the runs that this process starts know who serves them."""
    os.environ[SERVED_BY] = str(os.getpid())


def end_with_service() -> None:
    """In a run that a service has started: end with it, however it goes. Elsewhere nothing happens."""
    given = os.environ.get(SERVED_BY)
    if given is None or given == str(os.getpid()):
        return
    try:
        service = psutil.Process(int(given))
    except psutil.NoSuchProcess:
        _end()

    def look() -> None:
        with suppress(psutil.NoSuchProcess):
            while service.is_running() and service.status() != psutil.STATUS_ZOMBIE:
                time.sleep(LOOK_S)
        _end()

    threading.Thread(target=look, name="service", daemon=True).start()


def _end() -> NoReturn:
    """End this process and what it has started, at once: what is done is kept."""
    kill_descendants()
    os._exit(1)
