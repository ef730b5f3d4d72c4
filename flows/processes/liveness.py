"""Stop a command when Prefect's server is lost, and a scheduled run when its service is lost.

Prefect does not do this. Its client retries a lost server for minutes, its runner retries for ever, and a
run that a service has started continues after the service is killed.
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

from glassplate.flows.processes.signals import stop_requested, stop_with
from glassplate.flows.processes.supervision import kill_descendants
from glassplate.pipeline.errors import GlassplateError

SERVED_BY = "GLASSPLATE_SERVED_BY"
"""Environment variable: process id of the service that has started this process."""

# Seconds between two checks.
POLL_S = 1.0

# Seconds that a connection may take.
CONNECT_TIMEOUT_S = 5.0


@contextmanager
def stop_when_lost(
    is_alive: Callable[[], bool], lost_after_s: float, error: Callable[[], GlassplateError]
) -> Iterator[None]:
    """Stop this process when something it depends on is lost.

    Parameters
    ----------
    is_alive
        Checks the dependency. A thread of its own calls it about once a second.
    lost_after_s
        Seconds of failed checks after which this process is stopped.
    error
        Makes the error that this process is stopped with (`signals.stop_with`).
    """
    finished = threading.Event()

    def poll() -> None:
        last_alive = time.monotonic()
        while not finished.wait(POLL_S):
            if is_alive():
                last_alive = time.monotonic()
            elif time.monotonic() - last_alive >= lost_after_s:
                if not (finished.is_set() or stop_requested()):
                    stop_with(error())
                return

    threading.Thread(target=poll, name="liveness", daemon=True).start()
    try:
        yield
    finally:
        finished.set()


def accepts_connections(url: str) -> bool:
    """Whether a program accepts TCP connections at the host and port of a URL."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), CONNECT_TIMEOUT_S):
            return True
    except OSError:
        return False


def announce_service() -> None:
    """Tell the runs that this process will start which process serves them."""
    os.environ[SERVED_BY] = str(os.getpid())


def end_with_service() -> None:
    """End this process when its service ends for any reason; do nothing where no service started it."""
    given = os.environ.get(SERVED_BY)
    if given is None or given == str(os.getpid()):
        return
    try:
        service = psutil.Process(int(given))
    except psutil.NoSuchProcess:
        _end()

    def poll() -> None:
        with suppress(psutil.NoSuchProcess):
            while service.is_running() and service.status() != psutil.STATUS_ZOMBIE:
                time.sleep(POLL_S)
        _end()

    threading.Thread(target=poll, name="service-liveness", daemon=True).start()


def _end() -> NoReturn:
    """End this process and its descendants at once; finished tiles are kept."""
    kill_descendants()
    os._exit(1)
