"""Ways to show a run: bars on a terminal, plain lines, JSON lines, nothing."""

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
    RunEnded,
    RunStarted,
    StageAdvanced,
    StageStarted,
    TileDone,
    Warned,
)

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Kind = Literal["auto", "rich", "plain", "json", "none"]
KINDS: tuple[Kind, ...] = ("auto", "rich", "plain", "json", "none")

# Seconds between plain lines of one run: a log stays readable, a watcher is not left in doubt.
PLAIN_PERIOD_S = 5.0


class Display(Protocol):
    """A listener that may also be told a line; safe to call from several threads."""

    def __call__(self, event: Event) -> None:
        """Show an event."""
        ...

    def say(self, kind: str, text: str, facts: dict[str, Any]) -> None:
        """Tell one thing: `text` for people, `kind` and `facts` for machines."""
        ...

    def drop(self, store: Path) -> None:
        """Show no more of a run, however it ended."""
        ...


@contextmanager
def open_display(
    kind: Kind, *, out: TextIO | None = None, err: TextIO | None = None
) -> Iterator[Display]:
    """Open a display for the duration of a command.

    Parameters
    ----------
    kind
        auto: bars where standard error is a terminal, else plain lines.
    out
        Where results go, and JSON lines; None: standard output.
    err
        Where progress goes; None: standard error.
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
        """Show nothing."""

    def say(self, kind: str, text: str, facts: dict[str, Any]) -> None:
        """Say nothing."""

    def drop(self, store: Path) -> None:
        """Nothing is shown of it."""


class JsonDisplay:
    """One JSON object a line for every event, for programs that watch."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Write the event."""
        self._write(type(event).__name__, dataclasses.asdict(event))

    def say(self, kind: str, text: str, facts: dict[str, Any]) -> None:
        """Write the facts."""
        self._write(kind, facts)

    def drop(self, store: Path) -> None:
        """Nothing is kept of it."""

    def _write(self, kind: str, facts: dict[str, Any]) -> None:
        line = json.dumps({"event": kind, "time": time.time(), **facts}, default=str)
        with self._lock:
            print(line, file=self._out, flush=True)


class PlainDisplay:
    """A line now and then, for logs and pipes."""

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
        self._spoken: dict[Path, float] = {}

    def __call__(self, event: Event) -> None:
        """Write a line where the event is worth one, or one is due."""
        with self._lock:
            tally = self._tallies.setdefault(event.store, Tally(event.store, self._clock))
            tally.feed(event)
            text = self._text(event, tally)
            if text is not None:
                self._spoken[event.store] = self._clock()
                print(f"{tally.name}: {text}", file=self._err, flush=True)

    def say(self, kind: str, text: str, facts: dict[str, Any]) -> None:
        """Write the text to where results go."""
        with self._lock:
            print(text, file=self._out, flush=True)

    def drop(self, store: Path) -> None:
        """Forget the run's figures."""
        with self._lock:
            self._tallies.pop(store, None)
            self._spoken.pop(store, None)

    def _text(self, event: Event, tally: Tally) -> str | None:
        match event:
            case RunStarted():
                return started(event)
            case Warned():
                return f"warning: {event.message}"
            case RunEnded():
                return f"{event.status} in {duration(event.seconds)}"
            case StageStarted(stage="restore"):
                return None
            case StageStarted():
                return f"{event.stage}"
            case FitProgress() | TileDone() | StageAdvanced(stage="donor"):
                due = self._spoken.get(event.store, 0.0) + self._period_s <= self._clock()
                return ", ".join(figures(tally)) if due else None
            case _:
                return None


class RichDisplay:
    """A bar for each image that is being restored."""

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
                tally.feed(event)
            else:
                tally = Tally(event.store)
                tally.feed(event)
                bar = self._bars.add_task(tally.name, total=None, figures="")
                self._tallies[event.store] = tally, bar
            if isinstance(event, Warned):
                self._print(f"{tally.name}: warning: {event.message}")
            if isinstance(event, RunStarted):
                self._print(f"{tally.name}: {started(event)}")
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

    def say(self, kind: str, text: str, facts: dict[str, Any]) -> None:
        """Print the text above the bars, or to where results go if that is not the terminal."""
        with self._lock:
            if self._out.isatty():
                self._print(text)
            else:
                print(text, file=self._out, flush=True)

    def drop(self, store: Path) -> None:
        """Take the image's bar away."""
        with self._lock:
            if store in self._tallies:
                self._bars.remove_task(self._tallies.pop(store)[1])

    def _print(self, text: str) -> None:
        self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)


def started(event: RunStarted) -> str:
    """What is about to happen."""
    text = plural(event.tiles, "tile")
    if event.done:
        text += f", {event.done} done before"
    return text


def figures(tally: Tally) -> list[str]:
    """Where a run stands: tiles or other units, speed, time left."""
    if tally.stage not in {None, "restore"}:
        return [f"{tally.stage} {tally.stage_done} of {tally.stage_total}"]
    parts = [f"{tally.done} of {plural(tally.tiles, 'tile')}"]
    if tally.speed is not None:
        parts.append(f"{tally.speed:.0f} iterations/s")
    if tally.left_s is not None:
        parts.append(f"{duration(tally.left_s)} left")
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
