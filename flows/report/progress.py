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
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO

from glassplate.flows.report.tally import Tally
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

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

ProgressKind = Literal["auto", "rich", "plain", "json", "none"]

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
        with _bars(err) as bars:
            yield RichDisplay(bars, out)
    elif kind == "plain":
        yield PlainDisplay(out, err)
    elif kind == "json":
        yield JsonDisplay(out)
    else:
        yield SilentDisplay()


class SilentDisplay:
    """Shows nothing."""

    def __call__(self, event: Event) -> None:
        """Ignore an event."""

    def report(self, kind: str, text: str, facts: dict[str, Any]) -> None:
        """Ignore a report."""

    def forget(self, store: Path) -> None:
        """Do nothing."""


class JsonDisplay:
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


class PlainDisplay:
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


class RichDisplay:
    """Shows a bar for each image that is being restored."""

    def __init__(self, bars: Progress, out: TextIO) -> None:
        self._bars = bars
        self._out = out
        self._lock = threading.Lock()
        self._tallies: dict[Path, tuple[Tally, TaskID]] = {}

    def __call__(self, event: Event) -> None:
        """Move the image's bar."""
        with self._lock:
            if event.store in self._tallies:
                tally, bar = self._tallies[event.store]
                tally.update(event)
            else:
                tally = Tally(event.store)
                tally.update(event)
                bar = self._bars.add_task(tally.name, total=None, figures="")
                self._tallies[event.store] = tally, bar
            if isinstance(event, Warned):
                self._print(f"{tally.name}: warning: {event.message}")
            if isinstance(event, Noted):
                self._print(f"{tally.name}: {event.message}")
            if isinstance(event, RunStarted):
                self._print(f"{tally.name}: {start_text(event)}")
            if isinstance(event, RunEnded):
                self._print(f"{tally.name}: {event.status} in {duration(event.seconds)}")
            restoring = tally.stage in {None, "restore"}
            self._bars.update(
                bar,
                description=tally.name,
                completed=tally.done if restoring else tally.stage_done,
                total=(tally.tiles if restoring else tally.stage_total) or None,
                figures=", ".join(figures(tally)),
            )

    def report(self, kind: str, text: str, facts: dict[str, Any]) -> None:
        """Print the text above the bars, or to the stream for reports if that is no terminal."""
        with self._lock:
            if self._out.isatty():
                self._print(text)
            else:
                print(text, file=self._out, flush=True)

    def forget(self, store: Path) -> None:
        """Remove the image's bar."""
        with self._lock:
            if store in self._tallies:
                self._bars.remove_task(self._tallies.pop(store)[1])

    def _print(self, text: str) -> None:
        self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)


def start_text(event: RunStarted) -> str:
    """Number of tiles of a run that starts."""
    text = plural(event.tiles, "tile")
    if event.done:
        text += f", {event.done} done before"
    return text


def figures(tally: Tally) -> list[str]:
    """State of a run as short texts: finished tiles or units of a stage, speed, time left."""
    if tally.stage not in {None, "restore"}:
        return [f"{tally.stage} {tally.stage_done} of {tally.stage_total}"]
    parts = [f"{tally.done} of {plural(tally.tiles, 'tile')}"]
    if tally.speed is not None:
        parts.append(f"{tally.speed:.0f} iterations/s")
    if tally.remaining_s is not None:
        parts.append(f"{duration(tally.remaining_s)} left")
    return parts


@contextmanager
def _bars(err: TextIO) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[figures]}", markup=False),
        console=Console(file=err, stderr=err is sys.stderr),
        transient=True,
    ) as bars:
        yield bars
