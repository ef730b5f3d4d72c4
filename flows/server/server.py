"""A Prefect server of our own, for as long as a command runs, where PREFECT_API_URL names none.

Prefect would start one by itself, but in the same process group, so that Ctrl-C in a terminal ends the
server before the run has said goodbye to it; and that one schedules nothing.
"""

from __future__ import annotations

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
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from glassplate.flows.processes.presence import answers, watched
from glassplate.flows.server import settings as embedded
from glassplate.pipeline.errors import GlassplateError

# First start on an empty database: 11 to 14 s of two busy cores, 60 s of ten programs on two cores. One
# that ends is noticed at once, so a long wait costs nothing.
START_S = 300.0

# A request to stop is to be done with in ten seconds (supervision.GRACE_S), of which these are parts.
STOP_S = 3.0
SEND_S = 1.0

# Seconds after which a server counts as gone. Of one of ours that is certain at once, but it may have ended
# by the signal that is on its way to this process too; another may be started again meanwhile.
ENDED_S = 2.0
GONE_S = 30.0


@contextmanager
def prefect_api(*, services: bool) -> Iterator[Callable[[], str]]:
    """Provide a Prefect API, and set PREFECT_API_URL to it meanwhile.

    Enter this before Prefect is imported. What it yields waits until the server answers, so that
    the caller can import Prefect, which takes seconds, while the server starts.

    Parameters
    ----------
    services
        Whether the server schedules runs and shows its pages, or only records.

    Yields
    ------
    wait
        Waits until the API answers and returns its URL.

    Raises
    ------
    GlassplateError
        From `wait`, if the server ends or does not answer in time.
    """
    embedded.prepare()
    given = os.environ.get("PREFECT_API_URL")
    with _elsewhere(given) if given else _here(services=services) as wait:
        yield wait


@contextmanager
def _here(*, services: bool) -> Iterator[Callable[[], str]]:
    """Start a server of our own, and end it."""
    home = embedded.made_home()
    with (home / "server.lock").open("w") as lock:
        # two servers that start at once on an empty database both try to build it
        fcntl.flock(lock, fcntl.LOCK_EX)
        log = home / "server.log"
        process, url = _start(log, services=services)

        def loss() -> GlassplateError:
            return GlassplateError(
                f"Prefect's server ended with code {process.returncode}; what is done is kept, give the "
                f"same command again to go on; its log: {log}"
            )

        with ExitStack() as stack:

            def wait() -> str:
                _wait(process, url, log)
                fcntl.flock(lock, fcntl.LOCK_UN)
                stack.enter_context(watched(lambda: process.poll() is None, ENDED_S, loss))
                return url

            os.environ["PREFECT_API_URL"] = url
            try:
                yield wait
            finally:
                stack.close()
                if process.poll() is None:
                    _send_the_rest()
                del os.environ["PREFECT_API_URL"]
                _stop(process)


@contextmanager
def _elsewhere(url: str) -> Iterator[Callable[[], str]]:
    """Use the server of somebody else, which is never ended from here."""

    def loss() -> GlassplateError:
        return GlassplateError(
            f"Prefect's server {url} has not answered for {GONE_S:.0f} s; what is done is kept, give "
            "the same command again to go on"
        )

    with ExitStack() as stack:
        # one that no connection reaches from here, but a proxy, cannot be watched
        if answers(url):
            stack.enter_context(watched(lambda: answers(url), GONE_S, loss))
        yield lambda: url


def _start(log: Path, *, services: bool) -> tuple[subprocess.Popen[bytes], str]:
    """Start the server on a free port of the loopback interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        url = f"http://127.0.0.1:{port}/api"
        own = {"PREFECT_SERVER_API_HOST": "127.0.0.1", "PREFECT_SERVER_API_PORT": str(port)}
        if services:
            own["PREFECT_UI_API_URL"] = url
        else:
            own["PREFECT__SERVER_EPHEMERAL"] = "1"  # no scheduler, no pages: starts sooner
        with log.open("ab") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "glassplate.flows.server.server", str(listener.fileno())],
                stdin=subprocess.PIPE,  # its end tells the server that we are gone
                stdout=sink,
                stderr=sink,
                env={**os.environ, **own},
                pass_fds=[listener.fileno()],
                process_group=0,  # Ctrl-C is for us; we end the server last
            )
    return process, url


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + START_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < until:
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


def _send_the_rest() -> None:
    """Let Prefect, if it was used, send the logs and events that it still holds."""
    if "prefect.logging.handlers" in sys.modules:
        from prefect.events.worker import EventsWorker
        from prefect.logging.handlers import APILogWorker

        APILogWorker.drain_all(timeout=SEND_S)
        EventsWorker.drain_all(timeout=SEND_S)


def _stop(process: subprocess.Popen[bytes]) -> None:
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
    """End this process when the one that started it is gone, however it went."""
    sys.stdin.buffer.read()
    os._exit(0)


def main(descriptor: int) -> None:
    """Serve Prefect's API on an open socket until told to stop."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import uvicorn
    from prefect.server.api.server import create_app

    config = uvicorn.Config(
        create_app(final=True), log_level="error", timeout_graceful_shutdown=3, lifespan="on"
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    main(int(sys.argv[1]))
