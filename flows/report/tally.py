"""What is known of a run from its events: tiles done, iterations per second, time left."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from glassplate.pipeline.events import (
    Event,
    FitProgress,
    RunEnded,
    RunStarted,
    Stage,
    StageAdvanced,
    StageStarted,
    TileDone,
)

# Seconds over which the speed is averaged: fits report about once a second, and a figure that jumps
# cannot be read.
SPEED_WINDOW_S = 20.0


class Tally:
    """Counts of one run; feed it every event of that run."""

    def __init__(self, store: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = store.name.removesuffix(".zarr")
        self.tiles = 0
        self.done = 0
        self.stage: Stage | None = None
        self.stage_done = 0
        self.stage_total = 0
        self.status: str | None = None
        self._clock = clock
        self._begun = clock()
        self._earlier = 0
        self._iterations = 0
        self._history: deque[tuple[float, int]] = deque()
        self._running: dict[int, tuple[int, int]] = {}

    def feed(self, event: Event) -> None:
        """Take in one event."""
        match event:
            case RunStarted():
                self.name = event.source.name
                self.tiles, self.done = event.tiles, event.done
                self._earlier = event.done
                self._begun = self._clock()
            case StageStarted():
                self.stage, self.stage_done, self.stage_total = event.stage, 0, event.total
            case StageAdvanced():
                self.stage, self.stage_done = event.stage, event.done
                self.stage_total = event.total
            case FitProgress():
                if not self._history:  # until now, workers were being started
                    self._begun = self._clock() - event.seconds
                self._iterated(event.tile, event.iteration)
                self._running[event.tile] = (event.iteration, event.iterations)
            case TileDone():
                if event.ok:
                    self._iterated(event.tile, event.iterations)
                    self.done += 1
                self._running.pop(event.tile, None)
            case RunEnded():
                self.status = event.status
            case _:
                pass

    @property
    def speed(self) -> float | None:
        """Iterations per second of all workers together; None before two reports."""
        if len(self._history) < 2:
            return None
        (start, before), (end, after) = self._history[0], self._history[-1]
        return (after - before) / (end - start) if end > start else None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began or resumed."""
        return self._clock() - self._begun

    @property
    def left_s(self) -> float | None:
        """Seconds until the last tile is done; None where nothing can be said yet.

        By what this run has done so far, running fits counted in parts: at most, since fits may stop
        before their cap.
        """
        parts = sum(min(1.0, at / cap) for at, cap in self._running.values() if cap > 0)
        worked = self.done - self._earlier + parts
        remaining = max(0.0, self.tiles - self.done - parts)
        if worked > 0 and self.elapsed_s > 0:
            return self.elapsed_s * remaining / worked
        return None

    def _iterated(self, tile: int, iteration: int) -> None:
        before = self._running.get(tile, (0, 0))[0]
        # fewer than before: the tile was begun again
        self._iterations += iteration - before if iteration >= before else iteration
        now = self._clock()
        self._history.append((now, self._iterations))
        while self._history[0][0] < now - SPEED_WINDOW_S and len(self._history) > 2:
            self._history.popleft()
