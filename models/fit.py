"""Fit the windows of a batch: several at once, a new one for each that ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from glassplate.models.costs import projected_bytes
from glassplate.models.member import Fit, Member, nothing_to_fit, of_member, restoration
from glassplate.models.problem import (
    FitSettings,
    Measurement,
    Problem,
    Record,
    Restoration,
    Weights,
)
from glassplate.models.stack import Stack
from glassplate.models.window import Window

__all__ = [
    "Batch",
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

OnRecord = Callable[[int, Record], None]


@dataclass(frozen=True)
class Batch:
    """Windows to be fitted, each brought in when its turn comes."""

    shapes: Sequence[tuple[int, ...]]
    """``(c, h, w)`` of each window; those of one shape advance together."""
    measure: Callable[[int], Measurement | None]
    """The window at a place from 0, None where it is not to be fitted; called once for each, in `order`."""

    @property
    def order(self) -> list[int]:
        """Places as their turns come: those of one shape after the other."""
        first: dict[tuple[int, ...], int] = {}
        for place, shape in enumerate(self.shapes):
            first.setdefault(shape, place)
        return sorted(range(len(self.shapes)), key=lambda place: first[self.shapes[place]])


def fit_batch(
    measurements: Sequence[Measurement],
    problem: Problem,
    on_record: OnRecord | None = None,
    *,
    start: Weights | None = None,
) -> list[Restoration]:
    """Restore windows that are at hand already; otherwise as `fit_each`.

    Parameters
    ----------
    measurements
        Windows of any size from 1x1, any pattern of valid pixels.

    Returns
    -------
    One restoration per measurement, in order.
    """
    shapes = [measurement.values.shape for measurement in measurements]
    batch = Batch(shapes, measurements.__getitem__)
    found = dict(fit_each(batch, problem, on_record, start=start))
    return [found[place] for place in range(len(measurements))]


def fit_each(
    batch: Batch,
    problem: Problem,
    on_record: OnRecord | None = None,
    *,
    start: Weights | None = None,
) -> Iterator[tuple[int, Restoration]]:
    """Restore the windows of a batch, `problem.numerics.stack` of one shape at a time.

    Parameters
    ----------
    batch
        The windows.
    problem
        What they share.
    on_record
        Called with the window's place in the batch and each record as it is made. A fit that starts
        again, after running to infinity or out of memory, reports its iterations again.
    start
        Weights that every fit starts from, such as a donor's; None for random ones.

    Yields
    ------
    Place and restoration of each window that is to be fitted, as it ends. On the same device, software and
    thread count the same measurement gives the same bytes, whatever else is in the batch; for stacks
    `Numerics.together` says how far.

    Raises
    ------
    FloatingPointError
        If a fit runs to infinity, and again with a tenth of the learning rate.
    torch.OutOfMemoryError
        If one fit alone is too large for the device. Where several are, half as many go on.
    """
    with problem.numerics.applied():
        yield from _Turns(batch, problem, on_record, start).run()


@dataclass(frozen=True)
class _Turn:
    """One fit of one window: where it belongs, and how carefully it is to go."""

    place: int
    number: int
    """Of the member of the ensemble."""
    caution: float = 1.0


class _Turns:
    """Whose turn it is: a queue for each shape of windows, and the slots that it feeds."""

    def __init__(
        self, batch: Batch, problem: Problem, on_record: OnRecord | None, start: Weights | None
    ) -> None:
        self.batch, self.problem, self.start = batch, problem, start
        self.on_record = on_record or (lambda place, record: None)
        self.width = problem.numerics.stack
        self.queues: dict[tuple[int, ...], deque[_Turn]] = {}
        for place in batch.order:
            turns = (_Turn(place, number) for number in range(problem.fit.members))
            self.queues.setdefault(batch.shapes[place], deque()).extend(turns)
        self.measured: dict[int, Measurement] = {}
        self.passed_over: set[int] = set()
        self.members: dict[int, list[Member]] = {}
        self.ended: deque[tuple[int, Restoration]] = deque()

    def run(self) -> Iterator[tuple[int, Restoration]]:
        """All windows of one shape, then those of the next."""
        for queue in self.queues.values():
            while queue or self.ended:
                yield from self._stacked(queue)
                # what was taken by a stack that was too large, or by windows of another shape
                torch.cuda.empty_cache()

    def _stacked(self, queue: deque[_Turn]) -> Iterator[tuple[int, Restoration]]:
        """Fit until the queue is empty, or out of memory."""
        running: list[tuple[_Turn, Fit]] = []
        stack: Stack | None = None
        while queue or running or self.ended:
            try:
                if stack is None:
                    self._fill(running, queue)
                    stack = Stack([fit.begun for _, fit in running]) if running else None
                if stack is not None:
                    self._advance(stack, running, queue)
            except torch.OutOfMemoryError:
                if self.width == 1:
                    raise
                self.width = max(1, min(self.width, len(running)) // 2)
                queue.extendleft(turn for turn, _ in reversed(running))
                return
            while self.ended:
                yield self.ended.popleft()

    def _fill(self, running: list[tuple[_Turn, Fit]], queue: deque[_Turn]) -> None:
        """Take fits from the queue for as many slots as there are."""
        while len(running) < self.width and (taken := self._take(queue)) is not None:
            running.append(taken)

    def _take(self, queue: deque[_Turn]) -> tuple[_Turn, Fit] | None:
        """Begin the fit whose turn is next; None where there is none left."""
        while queue:
            turn = queue[0]
            if self._is_to_be_fitted(turn.place):
                fit = self._begin(turn)
                queue.popleft()  # not before it has found room
                return turn, fit
            queue.popleft()
        return None

    def _is_to_be_fitted(self, place: int) -> bool:
        """Bring a window in when it is first asked for; one without a valid pixel ends at once."""
        if place not in self.measured and place not in self.passed_over:
            measurement = self.batch.measure(place)
            if measurement is not None and measurement.valid.any():
                self.measured[place] = measurement
                return True
            self.passed_over.add(place)
            if measurement is not None:
                self.ended.append((place, nothing_to_fit(measurement, self.problem)))
        return place in self.measured

    def _begin(self, turn: _Turn) -> Fit:
        measurement = of_member(self.measured[turn.place], turn.number)
        return Fit(measurement, self.problem, self.start, turn.caution)

    def _advance(self, stack: Stack, running: list[tuple[_Turn, Fit]], queue: deque[_Turn]) -> None:
        """One iteration of all, the records that are due, and another fit in the place of each that ends."""
        stack.advance()
        for _, fit in running:
            fit.iteration += 1
        due = [slot for slot, (_, fit) in enumerate(running) if fit.due]
        empty = []
        for slot, reading in zip(due, stack.state.read(due) if due else [], strict=True):
            turn, fit = running[slot]
            try:
                self.on_record(turn.place, fit.record(reading))
            except FloatingPointError:
                if turn.caution < 1:
                    raise
                turn = replace(turn, caution=CAUTION)
                running[slot] = turn, self._begin(turn)
            else:
                if not fit.ended:
                    continue
                self._end(turn, fit)
                taken = self._take(queue)
                if taken is None:
                    empty.append(slot)
                    continue
                running[slot] = taken
            stack.put(slot, running[slot][1].begun)
        if empty:
            slots = [slot for slot in range(len(running)) if slot not in empty]
            running[:] = [running[slot] for slot in slots]
            if slots:
                stack.keep(slots)

    def _end(self, turn: _Turn, fit: Fit) -> None:
        """Keep what a fit gave; the last of a window's makes its restoration."""
        members = self.members.setdefault(turn.place, [])
        members.append(fit.result(turn.number))
        if len(members) == self.problem.fit.members:
            window = Window(self.measured.pop(turn.place), self.problem)
            self.ended.append((turn.place, restoration(window, self.members.pop(turn.place))))


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
    return (result.log[-1].seconds - result.log[0].seconds) / (4 * len(trials))
