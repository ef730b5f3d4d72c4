"""Start a Prefect server for the duration of a command, or use the one that PREFECT_API_URL names.

Prefect itself would start a server in the process group of the command. Ctrl-C in a terminal would then
end the server before the run has reported its end to it, and that server schedules nothing.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from glassplate.flows.processes.importing import importing
from glassplate.flows.processes.liveness import accepts_connections, stop_when_lost
from glassplate.flows.server.address import EVERY_ADDRESS, LOOPBACK, bind, given_address
from glassplate.flows.server.settings import apply_settings, make_home
from glassplate.pipeline.errors import GlassplateError

# Seconds that a server may take to start. The first start on an empty database takes 11 to 14 s with two
# busy cores, and 60 s with ten programs on two cores. A server that ends is noticed at once.
START_S = 300.0

# Seconds that the server may take to stop, and that Prefect may take to send its last logs and its last
# events. All are part of the seconds after which the supervisor kills the command (supervision.GRACE_S).
STOP_S = 3.0
FLUSH_S = 1.0

# Seconds after which a server counts as lost. For our own server, which is known to have ended, they leave
# time for the signal that ended it to reach this process too. Another server may be restarted meanwhile.
OWN_LOST_AFTER_S = 2.0
GIVEN_LOST_AFTER_S = 30.0


@contextmanager
def prefect_api(*, services: bool) -> Iterator[Callable[[], str]]:
    """Provide a Prefect API for the duration of the context, and set PREFECT_API_URL to it.

    Enter this context before Prefect is imported. The caller can look for its images and import Prefect,
    which takes seconds, while the server starts, and then call the yielded function.

    Parameters
    ----------
    services
        Whether the server schedules runs and serves its web pages, or only records runs.

    Yields
    ------
    wait
        Waits until the API answers and returns its URL.

    Raises
    ------
    GlassplateError
        From `wait`, if the server ends or does not answer in time.
    """
    apply_settings()
    given = os.environ.get("PREFECT_API_URL")
    with _given_server(given) if given else _own_server(services=services) as wait:
        yield wait


@contextmanager
def _own_server(*, services: bool) -> Iterator[Callable[[], str]]:
    """Start a server, and stop it at the end."""
    home = make_home()
    with (home / "server.lock").open("w") as lock:
        # two servers that start at the same time on an empty database both try to create its tables
        fcntl.flock(lock, fcntl.LOCK_EX)
        log = home / "server.log"
        process, url = start_server(log, services=services)
        answer = _answer(process, url, log, lock)

        def lost() -> GlassplateError:
            return GlassplateError(
                f"Prefect's server ended with code {process.returncode}; what is done is kept, give the "
                f"same command again to go on; its log: {log}"
            )

        with ExitStack() as stack:

            def wait() -> str:
                answer.result()
                stack.callback(flush_prefect, process)
                stack.enter_context(
                    stop_when_lost(lambda: process.poll() is None, OWN_LOST_AFTER_S, lost)
                )
                return url

            os.environ["PREFECT_API_URL"] = url
            try:
                yield wait
            finally:
                stack.close()
                del os.environ["PREFECT_API_URL"]
                stop_server(process)


def _answer(process: subprocess.Popen[bytes], url: str, log: Path, lock: TextIO) -> Future[None]:
    """Wait in a thread for the first answer of a server, and let another server start then.

    The command may work for minutes before it needs the server.
    """
    answer: Future[None] = Future()

    def wait() -> None:
        try:
            wait_for_server(process, url, log)
        except Exception as error:  # whatever it is, the command must hear of it
            answer.set_exception(error)
        else:
            answer.set_result(None)
        with suppress(ValueError):  # the command has ended, and has closed the file
            fcntl.flock(lock, fcntl.LOCK_UN)

    threading.Thread(target=wait, name="server-start", daemon=True).start()
    return answer


@contextmanager
def _given_server(url: str) -> Iterator[Callable[[], str]]:
    """Use a server that somebody else has started, and never stop it."""

    def lost() -> GlassplateError:
        return GlassplateError(
            f"Prefect's server {url} has not answered for {GIVEN_LOST_AFTER_S:.0f} s; what is done is "
            "kept, give the same command again to go on"
        )

    with ExitStack() as stack:
        # a server that is reached only through a proxy accepts no connection, and cannot be checked
        if accepts_connections(url):
            stack.enter_context(
                stop_when_lost(lambda: accepts_connections(url), GIVEN_LOST_AFTER_S, lost)
            )
        yield lambda: url


def start_server(log: Path, *, services: bool) -> tuple[subprocess.Popen[bytes], str]:
    """Start a server, on a free port of the loopback interface unless a service is told otherwise.

    Prefect's own variables ``PREFECT_SERVER_API_HOST`` and ``PREFECT_SERVER_API_PORT`` give another address
    to a service, whose pages others may want to see.

    Parameters
    ----------
    log
        File to which the server's output is appended.
    services
        Whether the server schedules runs and serves its web pages.

    Returns
    -------
    process
        The server, which ends with this process.
    url
        Of its API, which does not answer yet.

    Raises
    ------
    GlassplateError
        If the address that is given cannot be used.
    """
    host, port = given_address() if services else (LOOPBACK, 0)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        bind(listener, host, port)
        port = listener.getsockname()[1]
        url = f"http://{LOOPBACK if host == EVERY_ADDRESS else host}:{port}/api"
        settings = {"PREFECT_SERVER_API_HOST": host, "PREFECT_SERVER_API_PORT": str(port)}
        if services:
            settings["PREFECT_UI_API_URL"] = os.environ.get("PREFECT_UI_API_URL", url)
        else:
            settings["PREFECT__SERVER_EPHEMERAL"] = "1"  # without both, it starts sooner
        with log.open("ab") as sink:
            process = subprocess.Popen(
                [
                    # -P: the folder that a user is in has no say in what is imported
                    *(sys.executable, "-P", "-m", "glassplate.flows.server.server"),
                    str(listener.fileno()),
                ],
                stdin=subprocess.PIPE,  # end of file tells the server that this process is gone
                stdout=sink,
                stderr=sink,
                env={**os.environ, **settings},
                pass_fds=[listener.fileno()],
                process_group=0,  # Ctrl-C reaches this process alone, which stops the server last
            )
    return process, url


def wait_for_server(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Wait until the API of a server answers.

    Raises
    ------
    GlassplateError
        If the server ends or does not answer in time.
    """
    deadline = time.monotonic() + START_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise GlassplateError(
                f"Prefect's server ended with code {process.returncode}; its log: {log}"
            )
        with (
            suppress(urllib.error.URLError, OSError),
            opener.open(f"{url}/health", timeout=5) as reply,
        ):
            if reply.status == 200:
                return
        time.sleep(0.1)
    raise GlassplateError(f"Prefect's server did not answer within {START_S:.0f} s; its log: {log}")


def flush_prefect(process: subprocess.Popen[bytes]) -> None:
    """Send the logs and events that Prefect, if it was imported, still buffers for a running server."""
    if process.poll() is None and "prefect.logging.handlers" in sys.modules:
        from prefect.events.worker import EventsWorker
        from prefect.logging.handlers import APILogWorker

        APILogWorker.drain_all(timeout=FLUSH_S)
        EventsWorker.drain_all(timeout=FLUSH_S)


def stop_server(process: subprocess.Popen[bytes]) -> None:
    """Stop a server, by force if it does not end within `STOP_S`."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        if process.stdin is not None:
            process.stdin.close()


def _end_with_parent() -> None:
    """End this process when its parent has ended, for whatever reason."""
    sys.stdin.buffer.read()
    os._exit(0)


def main(descriptor: int) -> None:
    """Serve Prefect's API on the open socket of a file descriptor until this process is stopped."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with importing():
        import uvicorn
        from prefect.server.api.server import create_app

    config = uvicorn.Config(
        create_app(final=True), log_level="error", timeout_graceful_shutdown=3, lifespan="on"
    )
    asyncio.run(_serve(uvicorn.Server(config), socket.socket(fileno=descriptor)))


async def _serve(server: Any, listener: socket.socket) -> None:
    """Serve until the process is stopped, and delete old runs meanwhile."""
    pruning = asyncio.create_task(_prune_when_started(server))
    await server.serve(sockets=[listener])
    pruning.cancel()


async def _prune_when_started(server: Any) -> None:
    while not server.started:
        await asyncio.sleep(0.5)
    await prune()


async def prune() -> None:
    """Delete the runs of the database that are older than the settings keep them, with their logs.

    Prefect does so each hour where its services run. The server of `glassplate batch` has none.
    """
    from prefect.server.database import provide_database_interface
    from prefect.server.services.db_vacuum import vacuum_old_flow_runs

    await vacuum_old_flow_runs(db=provide_database_interface())


if __name__ == "__main__":
    main(int(sys.argv[1]))
