"""Going through the images of a job: a few at a time, and those that failed by chance once more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class Way(Generic[Item, Outcome]):
    """What is done with each item."""

    settled: Callable[[Item], Outcome | None]
    """The outcome of an item on which no work is to be done; None for all others."""
    refused: Callable[[Item], Outcome | None]
    """The outcome of an item whose work must not begin now; None if it may."""
    submit: Callable[[Item], Future[Outcome]]
    """Begin the work on an item, in another thread."""
    is_worth_another: Callable[[Outcome], bool]
    """Whether an item is tried once more, after all others."""
    ended: Callable[[Item, Outcome], None]
    """Called once for each item, in the calling thread, with its outcome."""
    at_once: Callable[[], int]
    """How many items are worked on at once, at least one; asked when the second one is to begin."""


def go_through(items: Iterable[Item], way: Way[Item, Outcome]) -> None:
    """Work on items, a few at once; return when the last one has ended.

    What an item needs is found out when its turn comes, while the work on those before it goes on.
    """
    running: dict[Future[Outcome], Item] = {}
    again: list[tuple[Item, Outcome]] = []

    def collect(*, last_try: bool) -> None:
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            item, outcome = running.pop(future), future.result()
            if not last_try and way.is_worth_another(outcome):
                again.append((item, outcome))
            else:
                way.ended(item, outcome)

    def begin(item: Item, first: Outcome | None = None) -> None:
        """Begin the work on an item, for the second time if it has a first outcome."""
        while running and len(running) >= way.at_once():
            collect(last_try=first is not None)
        outcome = way.refused(item)
        if outcome is not None:
            way.ended(item, outcome if first is None else first)
        else:
            running[way.submit(item)] = item

    for item in items:
        outcome = way.settled(item)
        if outcome is not None:
            way.ended(item, outcome)
        else:
            begin(item)
    while running:
        collect(last_try=False)
    for item, outcome in again:
        begin(item, outcome)
    while running:
        collect(last_try=True)
