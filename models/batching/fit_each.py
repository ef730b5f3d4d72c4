"""Restore many windows: one after the other, or several side by side."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from glassplate.models.batching.queue import OnRecord, Queue
from glassplate.models.device.arithmetic import applied
from glassplate.models.estimate.estimate import restorations
from glassplate.models.estimate.restoration import Restoration, without_valid_pixels
from glassplate.models.fit.cross_scale import enlarge_window
from glassplate.models.fit.log import Record
from glassplate.models.fit.loop import RETRY_RATE, fit_window
from glassplate.models.fit.problem import Measurement, Problem, Weights, member_measurement
from glassplate.models.fit.window import Window

Place = TypeVar("Place", bound=Hashable)
"""How a caller identifies a window: by a number, or by any object of its own."""


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
        If a fit diverges, and again with a tenth of the learning rate.
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
        What the windows share.
    on_record
        Called with the window's place and each record as it is made. A fit that starts again, because it
        diverged or memory ran out, reports its iterations again.
    start
        Weights that every fit starts from, such as a donor's; None for random ones.

    Yields
    ------
    Place and restoration of each window, as its fit ends; the error instead of the restoration, if the fit
    diverged, and again with a tenth of the learning rate. On the same device, software and thread count the
    same measurement gives the same bytes, whatever the other windows are; for stacks `Numerics.together` says
    how far.

    Raises
    ------
    RuntimeError
        If one fit alone is too large for the device. Where several are, half as many go on.
    """
    report = on_record or (lambda place, record: None)
    with applied(problem.numerics):
        if problem.numerics.stack > 1 and problem.input != "cross-scale":
            yield from Queue(windows, problem, report, start).run()
        else:
            one = partial(_restore, problem=problem, on_record=report, start=start)
            yield from itertools.starmap(one, windows)


def _restore(
    place: Place,
    measurement: Measurement,
    problem: Problem,
    on_record: Callable[[Place, Record], None],
    start: Weights | None,
) -> tuple[Place, Restoration | FloatingPointError]:
    """Fit the members of one window's ensemble, each a second time if it diverges."""
    if not measurement.valid.any():
        return place, without_valid_pixels(measurement, problem)
    if problem.input == "cross-scale":
        try:
            fit = enlarge_window(measurement, problem, start)
        except FloatingPointError as error:
            return place, error
        [restoration] = restorations([Window(measurement, problem)], [[fit]])
        return place, restoration
    fits = []
    for member in range(problem.fit.members):
        window, report = member_measurement(measurement, member), partial(on_record, place)
        try:
            fits.append(fit_window(window, problem, report, start=start))
        except FloatingPointError:
            try:
                fits.append(fit_window(window, problem, report, start=start, rate=RETRY_RATE))
            except FloatingPointError as error:
                return place, error
    [restoration] = restorations([Window(measurement, problem)], [fits])
    return place, restoration
