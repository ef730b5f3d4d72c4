"""Displays of a run's progress: bars on a terminal, plain lines, JSON lines, or nothing."""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

from glassplate.flows.report.progress_kind import ProgressKind
from glassplate.flows.report.tally import Tally, figures
from glassplate.flows.report.text import duration, plural
from glassplate.pipeline.events import (
    Event,
    FitProgress,
    Noted,
    RunEnded,
    RunStarted,
    StageAdvanced,
    StageStarted,
    TileDone,
    Warned,
)

# Seconds between two plain lines of one run: a log stays short, and a reader sees that the run continues.
PLAIN_PERIOD_S = 5.0


class Display(Protocol):
    """A listener that also prints reports; several threads may call it at once."""

    def __call__(self, event: Event) -> None:
        """Show an event."""
        ...

    def report(self, kind: str, text: str, facts: dict[str, Any]) -> None:
        """Print a report: `text` for people, or `kind` and `facts` as JSON for programs."""
        ...

    def forget(self, store: Path) -> None:
        """Stop showing a run, which has ended in whatever way."""
        ...

    def expect_images(self, images: int) -> None:
        """Announce how many images a job has."""
        ...

    def image_ended(self) -> None:
        """Count an image of a job."""
        ...

    @property
    def is_brief(self) -> bool:
        """Whether reports leave out what went well."""
        ...


@contextmanager
def open_display(
    kind: ProgressKind, *, out: TextIO | None = None, err: TextIO | None = None
) -> Iterator[Display]:
    """Open a display for the duration of a command.

    Parameters
    ----------
    kind
        What to show; auto: bars if standard error is a terminal, else plain lines.
    out
        Stream for reports and JSON lines; None: standard output.
    err
        Stream for progress; None: standard error.
    """
    out, err = out or sys.stdout, err or sys.stderr
    if kind == "auto":
        kind = "rich" if err.isatty() else "plain"
    if kind == "rich":
        from glassplate.flows.report.bars import RichDisplay, open_bars

        with open_bars(err) as bars:
            yield RichDisplay(bars, out)
    elif kind == "plain":
        yield PlainDisplay(out, err)
    elif kind == "json":
        yield JsonDisplay(out)
    else:
        yield SilentDisplay()


class _WithoutBars:
    """What a display does that has no bars."""

    is_brief = False

    def expect_images(self, images: int) -> None:
        """Do nothing: the report has the number."""

    def image_ended(self) -> None:
        """Do nothing."""


class SilentDisplay(_WithoutBars):
    """Shows nothing."""

    def __call__(self, event: Event) -> None:
        """Ignore an event."""

    def report(self, kind: str, text: str, facts: dict[str, Any]) -> None:
        """Ignore a report."""

    def forget(self, store: Path) -> None:
        """Do nothing."""


class JsonDisplay(_WithoutBars):
    """Writes every event and report as a JSON object on a line of its own, for programs."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Write the event."""
        self._write(type(event).__name__, dataclasses.asdict(event))

    def report(self, kind: str, text: str, facts: dict[str, Any]) -> None:
        """Write the facts."""
        self._write(kind, facts)

    def forget(self, store: Path) -> None:
        """Do nothing."""

    def _write(self, kind: str, facts: dict[str, Any]) -> None:
        line = json.dumps({"event": kind, "time": time.time(), **facts}, default=str)
        with self._lock:
            print(line, file=self._out, flush=True)


class PlainDisplay(_WithoutBars):
    """Writes lines of text, at most one per period about the tiles of a run, for logs and pipes."""

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        *,
        period_s: float = PLAIN_PERIOD_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._out = out
        self._err = err
        self._period_s = period_s
        self._clock = clock
        self._lock = threading.Lock()
        self._tallies: dict[Path, Tally] = {}
        self._last_line: dict[Path, float] = {}

    def __call__(self, event: Event) -> None:
        """Write a line if the event calls for one, or the period is over."""
        with self._lock:
            tally = self._tallies.setdefault(event.store, Tally(event.store, self._clock))
            tally.update(event)
            text = self._text(event, tally)
            if text is not None:
                self._last_line[event.store] = self._clock()
                print(f"{tally.name}: {text}", file=self._err, flush=True)

    def report(self, kind: str, text: str, facts: dict[str, Any]) -> None:
        """Write the text to the stream for reports."""
        with self._lock:
            print(text, file=self._out, flush=True)

    def forget(self, store: Path) -> None:
        """Forget the state of a run."""
        with self._lock:
            self._tallies.pop(store, None)
            self._last_line.pop(store, None)

    def _text(self, event: Event, tally: Tally) -> str | None:
        match event:
            case RunStarted():
                return start_text(event)
            case Warned():
                return f"warning: {event.message}"
            case Noted():
                return event.message
            case RunEnded():
                return f"{event.status} in {duration(event.seconds)}"
            case StageStarted(stage="restore"):
                return None
            case StageStarted():
                return f"{event.stage}"
            case FitProgress() | TileDone() | StageAdvanced(stage="donor"):
                due = self._last_line.get(event.store, 0.0) + self._period_s <= self._clock()
                return ", ".join(figures(tally)) if due else None
            case _:
                return None


def start_text(event: RunStarted) -> str:
    """Number of tiles of a run that starts."""
    text = plural(event.tiles, "tile")
    if event.done:
        text += f", {event.done} done before"
    return text
