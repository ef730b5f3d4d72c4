"""The display of a terminal: a bar for all images of a job, and one for each image that is being restored."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from glassplate.flows.report.tally import Tally, figures
from glassplate.flows.report.text import duration, plural
from glassplate.pipeline.events import Event, Noted, RunEnded, Warned

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class RichDisplay:
    """Shows a bar for each image that is being restored."""

    def __init__(self, bars: Progress, out: TextIO) -> None:
        self._bars = bars
        self._out = out
        self._lock = threading.Lock()
        self._tallies: dict[Path, tuple[Tally, TaskID]] = {}
        self._images: TaskID | None = None
        self._total = 0
        self._ended = 0

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
            if isinstance(event, Noted) and self._images is None:
                self._print(f"{tally.name}: {event.message}")
            if isinstance(event, RunEnded) and self._images is None:
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

    def expect_images(self, images: int) -> None:
        """Add a bar for all images."""
        with self._lock:
            self._total = images
            self._images = self._bars.add_task("all images", total=images, figures="")

    def image_ended(self) -> None:
        """Move the bar of all images."""
        with self._lock:
            self._ended += 1
            if self._images is not None:
                figures = f"{self._ended} of {plural(self._total, 'image')}"
                self._bars.update(self._images, completed=self._ended, figures=figures)

    @property
    def is_brief(self) -> bool:
        """On a terminal, what went well is in the bars."""
        return self._out.isatty()

    def forget(self, store: Path) -> None:
        """Remove the image's bar."""
        with self._lock:
            if store in self._tallies:
                self._bars.remove_task(self._tallies.pop(store)[1])

    def _print(self, text: str) -> None:
        self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def open_bars(err: TextIO) -> Iterator[Progress]:
    """Open the bars of a terminal."""
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
