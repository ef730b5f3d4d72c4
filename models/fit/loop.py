"""Fit the windows of a batch: several at once, a new one for each that ends."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from glassplate.models.batching.networks_together import Begun
from glassplate.models.device.numerics import is_out_of_memory
from glassplate.models.fit.member import Fit, Member, Start, nothing_to_fit, of_member, restorations
from glassplate.models.fit.memory import projected_bytes
from glassplate.models.fit.problem import (
    FitSettings,
    Measurement,
    Problem,
    Record,
    Restoration,
    Weights,
)
from glassplate.models.fit.stack import Reading, Stack, State
from glassplate.models.fit.window import Window

__all__ = [
    "FitSettings",
    "Measurement",
    "Problem",
    "Record",
    "Restoration",
    "Weights",
    "fit_batch",
    "fit_each",
    "projected_bytes",
    "seconds_per_iteration",
]

# Factor on the learning rate when a fit that ran to infinity starts again.
CAUTION = 0.1

# Slots that a device had room for, where it had not for as many as were asked for; so that not every batch
# of a run learns it anew. For the life of a process.
_ROOM: dict[tuple[Problem, tuple[int, ...]], int] = {}

OnRecord = Callable[[Any, Record], None]

Place = TypeVar("Place", bound=Hashable)
"""What a caller knows a window by: a number, or any object of its own."""


def fit_batch(
    measurements: Sequence[Measurement],
    problem: Problem,
    on_record: OnRecord | None = None,
    *,
    start: Weights | None = None,
) -> list[Restoration]:
    """Restore windows that are all in memory; otherwise as `fit_each`.

    Parameters
    ----------
    measurements
        Windows of any size from 1x1, any pattern of valid pixels; of one shape where `problem.numerics.stack`
        is more than 1.

    Returns
    -------
    One restoration per measurement, in order.

    Raises
    ------
    FloatingPointError
        If a fit runs to infinity, and again with a tenth of the learning rate.
    """
    found: dict[int, Restoration] = {}
    for place, restored in fit_each(enumerate(measurements), problem, on_record, start=start):
        if isinstance(restored, FloatingPointError):
            raise restored
        found[place] = restored
    return [found[place] for place in range(len(measurements))]


def fit_each(
    windows: Iterable[tuple[Place, Measurement]],
    problem: Problem,
    on_record: Callable[[Place, Record], None] | None = None,
    *,
    start: Weights | None = None,
) -> Iterator[tuple[Place, Restoration | FloatingPointError]]:
    """Restore windows of one shape, `problem.numerics.stack` at a time.

    Parameters
    ----------
    windows
        Place and measurement of each window. The next one is taken when a slot is free for it. No reference
        to a place is kept once it is yielded, since it may hold the pixels of its window.
    problem
        What they share.
    on_record
        Called with the window's place and each record as it is made. A fit that starts
        again, after running to infinity or out of memory, reports its iterations again.
    start
        Weights that every fit starts from, such as a donor's; None for random ones.

    Yields
    ------
    Place and restoration of each window, as its fit ends; the error instead of the restoration, if the fit
    ran to infinity, and again with a tenth of the learning rate. On the same device, software and thread
    count the same measurement gives the same bytes, whatever else is in the batch; for stacks
    `Numerics.together` says how far.

    Raises
    ------
    RuntimeError
        If one fit alone is too large for the device. Where several are, half as many go on.
    """
    with problem.numerics.applied():
        yield from _Turns(windows, problem, on_record, start).run()


@dataclass(frozen=True)
class _Turn:
    """One fit of one window: where it belongs, and how carefully it is to go."""

    place: int
    number: int
    """Of the member of the ensemble."""
    caution: float = 1.0


class _Running(NamedTuple):
    """A fit in a slot."""

    turn: _Turn
    fit: Fit


class _Turns:
    """The queue of fits, and the slots that it feeds."""

    def __init__(
        self,
        windows: Iterable[tuple[Any, Measurement]],
        problem: Problem,
        on_record: OnRecord | None,
        start: Weights | None,
    ) -> None:
        self.windows, self.problem, self.start = iter(windows), problem, start
        self.on_record = on_record or (lambda place, record: None)
        self.width = problem.numerics.stack
        self.queue: deque[_Turn] = deque()
        """Fits of windows that have been taken: members of an ensemble, and fits that begin again."""
        self.measured: dict[int, Measurement] = {}
        """Windows that have been taken and are not restored yet, by their places."""
        self.members: dict[int, list[Member]] = {}
        self.complete: deque[int] = deque()
        """Places whose members have all ended and which wait for their restoration."""
        self.ended: deque[tuple[int, Restoration | FloatingPointError]] = deque()

    def run(self) -> Iterator[tuple[Any, Restoration | FloatingPointError]]:
        """Fit all windows, fewer at a time where the device's memory does not suffice."""
        kind = self._kind()
        self.width = _ROOM.get(kind, self.width)
        while not (yield from self._stacked()):
            _ROOM[kind] = self.width
            torch.cuda.empty_cache()  # what was taken by a stack that was too large

    def _kind(self) -> tuple[Problem, tuple[int, ...]]:
        """Problem and shape of the windows; no shape where none is to be fitted."""
        first = self._take()
        if first is None:
            return self.problem, ()
        self.queue.appendleft(first)
        return self.problem, self.measured[first.place].values.shape

    def _stacked(self) -> Generator[tuple[int, Restoration | FloatingPointError], None, bool]:
        """Fit until all windows are done (True), or the device's memory is full (False)."""
        running: list[_Running | None] = []
        stack: Stack | None = None
        done = False
        while not done:
            try:
                if self.complete:
                    self._restore(list(self.complete)[: self.width])
                elif running and stack is not None:
                    self._advance(stack, running)
                else:
                    running += self._first(self.width - len(running))
                    begun = [self._begin(one.turn) for one in running if one]
                    stack = Stack(begun) if begun else None
                    done = not begun
            except RuntimeError as error:
                still = [one.turn for one in running if one is not None]
                nothing_to_release = stack is None and not still
                alone = self.width == len(still) == 1 and not self.complete
                if nothing_to_release or alone or not is_out_of_memory(error):
                    raise
                self.width = max(1, min(self.width, len(still)) // 2)
                self.queue.extendleft(reversed(still))
                return False
            while self.ended:
                yield self.ended.popleft()
        return True

    def _take(self) -> _Turn | None:
        """The next fit; None where there is none left. A window without a valid pixel ends at once."""
        while True:
            while self.queue:
                turn = self.queue.popleft()
                if turn.place in self.measured:
                    return turn
            coming = next(self.windows, None)
            if coming is None:
                return None
            place, measurement = coming
            if measurement.valid.any():
                self.measured[place] = measurement
                self.queue.extend(_Turn(place, n) for n in range(self.problem.fit.members))
            else:
                self.ended.append((place, nothing_to_fit(measurement, self.problem)))

    def _first(self, most: int) -> list[_Running]:
        """The next fits, as many as there are slots for."""
        turns = iter(self._take, None)
        return [self._running(turn) for turn in itertools.islice(turns, most)]

    def _running(self, turn: _Turn) -> _Running:
        return _Running(turn, Fit(self.problem, self.width))

    def _begin(self, turn: _Turn) -> tuple[State, Begun]:
        measurement = of_member(self.measured[turn.place], turn.number)
        return Start(measurement, self.problem, self.start, turn.caution).begun()

    def _advance(self, stack: Stack, running: list[_Running | None]) -> None:
        """One iteration of all, the records that are due, and another fit in the place of each that ends."""
        stack.advance()
        fits = [one for one in running if one is not None]
        for one in fits:
            one.fit.iteration += 1
        due = [slot for slot, one in enumerate(fits) if one.fit.due]
        readings = stack.state.read(due) if due else []
        free = []
        for slot, reading in zip(due, readings, strict=True):
            if self._recorded(fits[slot], reading):
                running[slot] = None
                free.append(slot)
        for slot in free:
            turn = self._take()
            if turn is not None:
                running[slot] = self._running(turn)
                stack.put(slot, self._begin(turn))
        slots = [slot for slot, one in enumerate(running) if one is not None]
        if slots and len(slots) < len(running):
            stack.keep(slots)
        running[:] = [running[slot] for slot in slots]

    def _recorded(self, one: _Running, reading: Reading) -> bool:
        """Make a record; whether that was the last one of this fit."""
        try:
            self.on_record(one.turn.place, one.fit.record(reading))
        except FloatingPointError as error:
            if one.turn.caution < 1:
                self._give_up(one.turn.place, error)
            elif one.turn.place in self.measured:
                self.queue.appendleft(replace(one.turn, caution=CAUTION))
            return True
        if one.fit.ended and one.turn.place in self.measured:
            members = self.members.setdefault(one.turn.place, [])
            members.append(one.fit.result(one.turn.number))
            if len(members) == self.problem.fit.members:
                self.complete.append(one.turn.place)
        return one.fit.ended

    def _give_up(self, place: int, error: FloatingPointError) -> None:
        """Let a window go whose fit ran to infinity twice; its other members do not matter any more."""
        if self.measured.pop(place, None) is not None:
            self.ended.append((place, error))
        self.members.pop(place, None)

    def _restore(self, places: Sequence[int]) -> None:
        """Make the restorations of windows of what their members gave, which is kept until that is done."""
        windows = [Window(self.measured[place], self.problem) for place in places]
        restored = restorations(windows, [self.members[place] for place in places])
        for place, one in zip(places, restored, strict=True):
            self.ended.append((place, one))
            self.complete.remove(place)
            del self.measured[place], self.members[place]


def seconds_per_iteration(problem: Problem, window_shape: tuple[int, int, int]) -> float:
    """Measure one iteration of one fit on this machine, as many beside it as the problem stacks.

    Parameters
    ----------
    problem
        What would be fitted.
    window_shape
        ``(c, h, w)`` of a window, in pixels of the measurement.

    Returns
    -------
    Seconds, by a short trial on random pixels: a stack's iteration over the fits in it.
    """
    rng = np.random.default_rng(0)
    values = rng.random(window_shape, dtype=np.float32)
    values = problem.transform.inverse(values).astype(np.float32)
    guide_shape = (problem.guide_channels, *window_shape[1:])
    guide = rng.random(guide_shape, dtype=np.float32) if problem.guide_channels else None
    trial = Measurement(values, np.ones(window_shape, bool), None, 0, guide)
    # The first iterations allocate and choose kernels; they are not counted.
    fit = replace(problem.fit, iterations=6, log_period=2, members=1)
    stopping = replace(problem.stopping, rule="fixed")
    trials = [trial] * problem.numerics.stack
    [result, *_] = fit_batch(trials, replace(problem, fit=fit, stopping=stopping))
    # fewer than was asked for where memory ran out
    return (result.log[-1].seconds - result.log[0].seconds) / (4 * result.slots)
