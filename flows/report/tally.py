"""The state of a run, computed from its events: finished tiles, iterations per second, time left."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from glassplate.flows.report.text import duration, plural
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

# Seconds over which the speed is averaged. Fits report about once a second, and a figure that changes much
# from one report to the next cannot be read.
SPEED_WINDOW_S = 20.0


class Tally:
    """The state of one run; `update` it with every event of that run."""

    def __init__(self, store: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = store.name.removesuffix(".zarr")
        self.tiles = 0
        self.done = 0
        self.stage: Stage | None = None
        self.stage_done = 0
        self.stage_total = 0
        self.status: str | None = None
        self._clock = clock
        self._start = clock()
        self._done_before = 0
        self._iterations = 0
        self._history: deque[tuple[float, int]] = deque()
        self._running: dict[int, tuple[int, int]] = {}

    def update(self, event: Event) -> None:
        """Update the state by one event."""
        match event:
            case RunStarted():
                self.name = event.source.name
                self.tiles, self.done = event.tiles, event.done
                self._done_before = event.done
                self._start = self._clock()
            case StageStarted():
                self.stage, self.stage_done, self.stage_total = event.stage, 0, event.total
            case StageAdvanced():
                self.stage, self.stage_done = event.stage, event.done
                self.stage_total = event.total
            case FitProgress():
                if not self._history:  # the workers were starting until now
                    self._start = self._clock() - event.seconds
                self._count(event.tile, event.iteration)
                self._running[event.tile] = (event.iteration, event.iterations)
            case TileDone():
                if event.ok:
                    self._count(event.tile, event.iterations)
                    self.done += 1
                self._running.pop(event.tile, None)
            case RunEnded():
                self.status = event.status
            case _:
                pass

    @property
    def speed(self) -> float | None:
        """Iterations per second of all workers together; None before the second report."""
        if len(self._history) < 2:
            return None
        (start, before), (end, after) = self._history[0], self._history[-1]
        return (after - before) / (end - start) if end > start else None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run started or resumed."""
        return self._clock() - self._start

    @property
    def remaining_s(self) -> float | None:
        """Seconds until the last tile is finished; None while unknown.

        It is projected from the tiles that this run has finished and the finished fractions of running
        fits. It is an upper bound, because fits may stop before their cap.
        """
        fractions = sum(min(1.0, at / cap) for at, cap in self._running.values() if cap > 0)
        finished = self.done - self._done_before + fractions
        remaining = max(0.0, self.tiles - self.done - fractions)
        if finished > 0 and self.elapsed_s > 0:
            return self.elapsed_s * remaining / finished
        return None

    def _count(self, tile: int, iteration: int) -> None:
        before = self._running.get(tile, (0, 0))[0]
        # a smaller number means that the tile was started again
        self._iterations += iteration - before if iteration >= before else iteration
        now = self._clock()
        self._history.append((now, self._iterations))
        while self._history[0][0] < now - SPEED_WINDOW_S and len(self._history) > 2:
            self._history.popleft()


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
