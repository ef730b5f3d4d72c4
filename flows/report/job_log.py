"""The log of a job: one file beside its results, with a line for each message, for all runs of the job."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from glassplate.flows.report.progress import start_text
from glassplate.flows.report.text import duration
from glassplate.pipeline.events import (
    Event,
    RunEnded,
    RunStarted,
    StageStarted,
    TileDone,
    Warned,
)
from glassplate.pipeline.text import printable, without_secrets

SUFFIX = ".log"
LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning"]


def log_path(output: Path, job: str) -> Path:
    """The log of a job beside its results. The name of a job may be anything."""
    name = re.sub(r"[^\w.+-]+", "_", job).lstrip(".")[:150] or "job"
    return output / f"{name}{SUFFIX}"


class JobLog:
    """Writes the messages of a run; threads may share it."""

    def __init__(self, logger: logging.Logger, path: Path | None = None) -> None:
        self._logger = logger
        self.path = path

    def write(self, level: int, message: str, **facts: Any) -> None:
        """Write a message.

        Parameters
        ----------
        level
            Of the module `logging`.
        message
            One line.
        facts
            What it is about: ``image``, ``tile``.
        """
        text = without_secrets(printable(message))
        self._logger.log(level, "%s", text, extra={"facts": facts})

    def event(self, image: str, event: Event) -> None:
        """Write an event of the run of an image; most of them are of no interest later."""
        match event:
            case RunStarted():
                self.write(logging.INFO, start_text(event), image=image)
            case StageStarted():
                self.write(logging.DEBUG, event.stage, image=image)
            case TileDone(ok=False):
                why = f"tile {event.tile} failed: {event.stop_reason}"
                self.write(logging.WARNING, why, image=image, tile=event.tile)
            case TileDone():
                said = f"{event.stop_reason} after {event.iterations} iterations"
                text = f"tile {event.tile}: {said}, {duration(event.seconds)}"
                self.write(logging.DEBUG, text, image=image, tile=event.tile)
            case Warned():
                self.write(logging.WARNING, event.message, image=image)
            case RunEnded():
                ended = f"{event.status} in {duration(event.seconds)}"
                self.write(logging.INFO, ended, image=image)
            case _:
                pass


class _TextLines(logging.Formatter):
    """Lines for people: time, level, image, message."""

    def format(self, record: logging.LogRecord) -> str:
        image = getattr(record, "facts", {}).get("image")
        head = f"{_time(record)} {record.levelname:<7}"
        return (
            f"{head} {image}: {record.getMessage()}" if image else f"{head} {record.getMessage()}"
        )


class _JsonLines(logging.Formatter):
    """A JSON object on each line, for programs."""

    def __init__(self, run: str) -> None:
        super().__init__()
        self._run = run

    def format(self, record: logging.LogRecord) -> str:
        document = {
            "time": _time(record),
            "level": record.levelname.lower(),
            **getattr(record, "facts", {}),
            "message": record.getMessage(),
            "run": self._run,
        }
        return json.dumps(document)


@contextmanager
def open_log(path: Path, form: LogFormat, level: LogLevel, run: str) -> Iterator[JobLog]:
    """Open the log of a job for one run. A log that cannot be written stops no run.

    Parameters
    ----------
    path
        The file, to whose end is written. Its folder is made.
    form
        Text for people, or JSON for programs.
    level
        The least level that is written.
    run
        Id of the run.
    """
    # it is no logger of the module's tree: what libraries log is not in it, and nothing of it elsewhere
    logger = logging.Logger("glassplate.job", level.upper())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler: logging.Handler = logging.FileHandler(path, encoding="utf-8")
    except OSError:
        logger.addHandler(logging.NullHandler())
        yield JobLog(logger)
        return
    handler.setFormatter(_JsonLines(run) if form == "json" else _TextLines())
    handler.handleError = lambda record: None  # type: ignore[method-assign]  # a full disk
    logger.addHandler(handler)
    try:
        yield JobLog(logger, path)
    finally:
        handler.close()


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
