"""What every test shares: no network, no traces in the home folder, one seed, one Prefect server."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).resolve().parent.parent

# Set before anything imports Prefect: its database and results stay out of the user's home, nothing is
# reported anywhere, and a machine under load gets time to start the server.
_PREFECT_HOME = tempfile.TemporaryDirectory(prefix="glassplate-tests-prefect-")
os.environ.update(
    PREFECT_HOME=_PREFECT_HOME.name,
    DO_NOT_TRACK="1",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="120",
)
os.environ.pop("PREFECT_API_URL", None)
# Read when numpy and torch are imported. Fits set their own threads; all else would start one for each core,
# in each of the processes that share the cores, and they cost a tenth of the time of a short run.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Seeded, so that a failure comes back: the same forty examples each time, so that the suite stays under its
# time; no deadline, since two cores may be shared.
settings.register_profile(
    "glassplate",
    max_examples=40,
    derandomize=True,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("glassplate")


# Nothing that is imported or collected is garbage. To look through all of it again and again takes a tenth of
# the time of the quick tests.
gc.disable()


def pytest_collection_finish() -> None:
    """Look for garbage only in what the tests make."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files that need Prefect first, and then those with slow tests.

    Each process of the tests takes its share of the list from the front, and from the end of another's when
    it is done. So the tests that need Prefect share one server, and what is left at the end is quick.
    """

    def rank(item: pytest.Item) -> int:
        return next((n for n, mark in enumerate(("prefect", "slow")) if mark in item.keywords), 2)

    ranks: dict[Path, int] = {}
    for item in items:
        ranks[item.path] = min(rank(item), ranks.get(item.path, 2))
    items.sort(key=lambda item: ranks[item.path])


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout: for files that the wheel does not carry, never to import from."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real images beside the checkout, which the project does not ship."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real images are not here")
    return folder


@pytest.fixture
def make_sky():
    """Write a simulated sky to a path."""
    from skies import write_sky

    return write_sky


@pytest.fixture
def gp():
    """Run a command in this process."""
    from commands import run_command

    return run_command


@pytest.fixture
def command():
    """Words that run the installed command in a process of its own."""
    return [str(Path(sys.executable).parent / "glassplate")]


@pytest.fixture(scope="session")
def prefect_server():
    """URL of a Prefect server that all tests of the session share; the first of them starts it.

    A server takes 10 to 15 s of a core to start. It uses the database of the session, which it creates, so
    that servers that other tests start find it ready.
    """
    from glassplate.flows.server.server import (
        flush_prefect,
        start_server,
        stop_server,
        wait_for_server,
    )

    log = Path(os.environ["PREFECT_HOME"], "session-server.log")
    process, url = start_server(log, services=False)
    try:
        wait_for_server(process, url, log)
        yield url
        flush_prefect(process)
    finally:
        stop_server(process)


@pytest.fixture
def shared_prefect(prefect_server, monkeypatch):
    """Let commands, in this process and in others, use the session's Prefect server."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    with temporary_settings({PREFECT_API_URL: prefect_server}):
        yield
