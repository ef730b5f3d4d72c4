"""Prefect's settings for this program, which must be set before Prefect is imported.

A setting that the user has made is kept. The settings follow from issues that users of Prefect report
on one machine, and from measurements with prefect 3.8.8: the first start on a new database takes 14 s
under load, against a default time-out of 20 s, and the server's telemetry alone locked a new SQLite
database in 3 of 4 first runs.
"""

from __future__ import annotations

import os
from pathlib import Path

from glassplate.pipeline.errors import GlassplateError

SETTINGS = {
    "DO_NOT_TRACK": "1",  # no telemetry of the client
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",  # no telemetry of the server, which also locked the database
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",  # the results are the Zarr stores; Prefect keeps none
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "PREFECT_CLI_PROMPT": "false",
    # runs older than 30 days are deleted with their logs, so that the database stops growing
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(30 * 24 * 3600),
}

# The command line prints each error as one line. Prefect's console handler would print it again, with a
# traceback. The log of the run in Prefect's database stays complete.
CONSOLE_SETTINGS = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}


def apply_settings() -> None:
    """Put the settings into the environment of this process and its children."""
    for key, value in SETTINGS.items():
        os.environ.setdefault(key, value)
    if "PREFECT_LOGGING_LEVEL" not in os.environ:
        for key, value in CONSOLE_SETTINGS.items():
            os.environ.setdefault(key, value)
    os.environ.setdefault("PREFECT_HOME", str(Path.home() / ".glassplate" / "prefect"))
    # a proxy cannot reach a server on this machine
    for key in ("NO_PROXY", "no_proxy"):
        names = [name for name in os.environ.get(key, "").split(",") if name]
        if "127.0.0.1" not in names:
            os.environ[key] = ",".join([*names, "127.0.0.1"])


def make_home() -> Path:
    """Make the folder of Prefect's database if it is missing, and return it; call `apply_settings` before.

    Raises
    ------
    GlassplateError
        If the folder cannot be made.
    """
    home = Path(os.environ["PREFECT_HOME"]).expanduser()
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GlassplateError(
            f"Prefect's folder {home} cannot be made: {error.strerror}; set PREFECT_HOME to another"
        ) from error
    return home
