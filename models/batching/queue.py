"""A queue of windows for a device that fits several side by side."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch

from glassplate.models.batching.slots import Slots
from glassplate.models.device.arithmetic import is_out_of_memory
from glassplate.models.estimate.estimate import restorations
from glassplate.models.estimate.restoration import Restoration, without_valid_pixels
from glassplate.models.fit.log import FitLog, FitResult, Reading, Record
from glassplate.models.fit.loop import RETRY_RATE, FitState, Network, begin
from glassplate.models.fit.problem import Measurement, Problem, Weights, member_measurement
from glassplate.models.fit.window import Window

# Slots that a device had memory for, where it had not enough for as many as were asked for, by problem and
# shape of the windows. Kept for the life of a process, so that not every batch of a run has to find it out.
_WIDTHS: dict[tuple[Problem, tuple[int, ...]], int] = {}

OnRecord: TypeAlias = Callable[[Any, Record], None]
Ended: TypeAlias = tuple[Any, Restoration | FloatingPointError]
"""Place of a window, and its restoration or why there is none."""


@dataclass(frozen=True)
class _Fit:
    """One fit of one window, waiting or in a slot."""

    place: Hashable
    member: int
    rate: float = 1.0
    """Factor on the learning rate."""


class Queue:
    """Windows that wait for a slot, fits in slots, and windows that wait for their restoration.

    Parameters
    ----------
    windows, problem, on_record, start
        As for `fit_each`.
    """

    def __init__(
        self,
        windows: Iterable[tuple[Any, Measurement]],
        problem: Problem,
        on_record: OnRecord,
        start: Weights | None,
    ) -> None:
        self.windows, self.problem = iter(windows), problem
        self.on_record, self.start = on_record, start
        self.width = problem.numerics.stack
        self.waiting: deque[_Fit] = deque()
        """Fits of windows that have been taken: members of an ensemble, and fits that start again."""
        self.measurements: dict[Hashable, Measurement] = {}
        """Windows that have been taken and have neither a restoration nor an error yet."""
        self.slots: Slots | None = None
        self.running: dict[int, tuple[_Fit, FitLog]] = {}
        """The fit in each slot."""
        self.results: dict[Hashable, dict[int, FitResult]] = {}
        """Of each window, the results of the members that have ended."""
        self.fitted: deque[Hashable] = deque()
        """Windows whose members have all ended."""
        self.ended: deque[Ended] = deque()

    def run(self) -> Iterator[Ended]:
        """Fit all windows, with fewer slots each time that memory runs out."""
        key = self._key()
        self.width = _WIDTHS.get(key, self.width)
        more = True
        while more:
            try:
                more = self._go_on()
            except RuntimeError as error:
                self._halve(error)
                _WIDTHS[key] = self.width
            if self.slots is None:
                torch.cuda.empty_cache()  # what a stack that was too large had taken
            while self.ended:
                yield self.ended.popleft()

    def _key(self) -> tuple[Problem, tuple[int, ...]]:
        """Problem and shape of the windows; no shape if none is to be fitted."""
        first = self._next_fit()
        if first is None:
            return self.problem, ()
        self.waiting.appendleft(first)
        return self.problem, self.measurements[first.place].values.shape

    def _go_on(self) -> bool:
        """Restore windows, let all fits advance, or fill the slots; False where nothing is left to do."""
        if self.fitted:
            self._restore(list(self.fitted)[: self.width])
            return True
        if self.running and self.slots is not None:
            self._advance(self.slots)
            return True
        while len(self.running) < self.width and (fit := self._next_fit()) is not None:
            self._take_slot(len(self.running), fit)
        begun = [self._begin(fit) for fit, _ in self.running.values()]
        self.slots = Slots(begun) if begun else None
        return self.slots is not None

    def _halve(self, error: RuntimeError) -> None:
        """Put all running fits back and halve the slots; raise the error where that cannot help."""
        running = [fit for fit, _ in self.running.values()]
        nothing_to_release = self.slots is None and not running
        alone = self.width == len(running) == 1 and not self.fitted
        if nothing_to_release or alone or not is_out_of_memory(error):
            raise error
        self.width = max(1, min(self.width, len(running)) // 2)
        self.waiting.extendleft(reversed(running))
        self.running, self.slots = {}, None

    def _next_fit(self) -> _Fit | None:
        """The next fit; None where none is left. A window without a valid pixel ends at once."""
        while True:
            while self.waiting:
                fit = self.waiting.popleft()
                if fit.place in self.measurements:
                    return fit
            place, measurement = next(self.windows, (0, None))
            if measurement is None:
                return None
            if measurement.valid.any():
                self.measurements[place] = measurement
                self.waiting.extend(_Fit(place, n) for n in range(self.problem.fit.members))
            else:
                self.ended.append((place, without_valid_pixels(measurement, self.problem)))

    def _take_slot(self, slot: int, fit: _Fit) -> None:
        self.running[slot] = fit, FitLog(self.problem, time.perf_counter(), self.width)

    def _begin(self, fit: _Fit) -> tuple[FitState, Network]:
        measurement = member_measurement(self.measurements[fit.place], fit.member)
        return begin(Window(measurement, self.problem), self.start, fit.rate)

    def _advance(self, slots: Slots) -> None:
        """Do one iteration of all fits, make the records that are due, refill the slots of fits that end."""
        logs = [self.running[slot][1] for slot in range(slots.width)]
        slots.advance([self.problem.fit.learns(log.iteration) for log in logs])
        due = []
        for slot, (_, log) in self.running.items():
            log.iteration += 1
            if log.record_due:
                due.append(slot)
        readings = slots.read(due) if due else []
        free = [
            slot for slot, reading in zip(due, readings, strict=True) if self._record(slot, reading)
        ]
        for slot in free:
            del self.running[slot]
        for slot in free:
            if (fit := self._next_fit()) is not None:
                self._take_slot(slot, fit)
                slots.put(slot, self._begin(fit))
        if self.running and len(self.running) < slots.width:
            kept = sorted(self.running)
            slots.keep(kept)
            self.running = {n: self.running[slot] for n, slot in enumerate(kept)}

    def _record(self, slot: int, reading: Reading) -> bool:
        """Make a record; whether the fit in the slot has ended with it."""
        fit, log = self.running[slot]
        try:
            record = log.add(reading)
        except FloatingPointError as error:
            self._retry(fit, error)
            return True
        self.on_record(fit.place, record)
        if log.ended and fit.place in self.measurements:
            results = self.results.setdefault(fit.place, {})
            results[fit.member] = log.result()
            if len(results) == self.problem.fit.members:
                self.fitted.append(fit.place)
        return log.ended

    def _retry(self, fit: _Fit, error: FloatingPointError) -> None:
        """Let a fit that diverged start again; give its window up where it diverged again."""
        if fit.place not in self.measurements:
            return  # given up already, for another member
        if fit.rate == 1:
            self.waiting.appendleft(replace(fit, rate=RETRY_RATE))
            return
        self.ended.append((fit.place, error))
        del self.measurements[fit.place]
        self.results.pop(fit.place, None)

    def _restore(self, places: Sequence[Hashable]) -> None:
        """Make the restorations of windows whose members have all ended."""
        windows = [Window(self.measurements[place], self.problem) for place in places]
        ensembles = [[fit for _, fit in sorted(self.results[place].items())] for place in places]
        for place, restored in zip(places, restorations(windows, ensembles), strict=True):
            self.ended.append((place, restored))
            self.fitted.remove(place)
            del self.measurements[place], self.results[place]
