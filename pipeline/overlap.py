"""Reading what is next and writing what is done while a device fits what is between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Windows that may wait to be written: a disk that is slower than the fits slows them, not memory.
MOST_WAITING = 4


class AtOnce(Executor):
    """Does what it is given before it returns: for one processor, which has nobody to hand it to."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call it; what it raises is raised by the future."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # of any kind: it is the caller's, who asks the future for it
            future.set_exception(error)
        return future


def read_ahead(read: Callable[[int], T], order: Iterable[int], executor: Executor) -> Iterator[T]:
    """What `read` gives for each of `order`, one of them read in advance by the executor.

    None by one that does everything at once: nobody would gain time, and one window more be in memory.
    """
    ahead = 0 if isinstance(executor, AtOnce) else 1
    begun: deque[Future[T]] = deque()
    for place in order:
        begun.append(executor.submit(read, place))
        if len(begun) > ahead:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


class WriteBehind:
    """Work whose results are asked for at the end, done meanwhile by an executor.

    Parameters
    ----------
    executor
        Who does it, one after the other.
    """

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.waiting: deque[Future[object]] = deque()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Hand it over; where too much waits already, wait for the oldest, and raise what that raised."""
        while len(self.waiting) >= MOST_WAITING:
            self.waiting.popleft().result()
        future = self.executor.submit(fn, *args, **kwargs)
        self.waiting.append(future)  # type: ignore[arg-type]  # only ever waited for
        return future
