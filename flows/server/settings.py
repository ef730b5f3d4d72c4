"""Prefect's settings for this program; to be set before Prefect is imported.

A setting that the user made stays. Why each is here: research of the issues that users of Prefect meet
on one machine, and measurements with prefect 3.8.8 (first start on a fresh database: 14 s under load,
against a time-out of 20 s; the telemetry of the server alone locked a fresh SQLite database in 3 of 4
first runs).
"""

from __future__ import annotations

import os
from pathlib import Path

from glassplate.pipeline.errors import GlassplateError

SETTINGS = {
    "DO_NOT_TRACK": "1",  # no telemetry of the client
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",  # none of the server, which also locked the database
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",  # results are the Zarrs; Prefect keeps none
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "PREFECT_CLI_PROMPT": "false",
}

# Faults reach the user as one line each from the command line; Prefect's console would say them again,
# with tracebacks. Its log of the run, in its database, stays whole.
QUIET = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}


def prepare() -> None:
    """Put the settings into the environment, for this process and its children."""
    for key, value in SETTINGS.items():
        os.environ.setdefault(key, value)
    if "PREFECT_LOGGING_LEVEL" not in os.environ:
        for key, value in QUIET.items():
            os.environ.setdefault(key, value)
    os.environ.setdefault("PREFECT_HOME", str(Path.home() / ".glassplate" / "prefect"))
    # a proxy for the outside world must not be asked for a server on this machine
    for key in ("NO_PROXY", "no_proxy"):
        names = [name for name in os.environ.get(key, "").split(",") if name]
        if "127.0.0.1" not in names:
            os.environ[key] = ",".join([*names, "127.0.0.1"])


def made_home() -> Path:
    """Folder of Prefect's database, made where it is not there; `prepare` first.

    Raises
    ------
    GlassplateError
        If it cannot be made.
    """
    home = Path(os.environ["PREFECT_HOME"]).expanduser()
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GlassplateError(
            f"Prefect's folder {home} cannot be made: {error.strerror}; set PREFECT_HOME to another"
        ) from error
    return home
