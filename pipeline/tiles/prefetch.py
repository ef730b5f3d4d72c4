"""Reading what is next and writing what is done while a device fits what is between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


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


def read_ahead(
    read: Callable[[int], T], order: Iterable[int], executor: Executor, most: int
) -> Iterator[T]:
    """What `read` gives for each of `order`, so many of them read in advance by the executor."""
    begun: deque[Future[T]] = deque()
    for place in order:
        begun.append(executor.submit(read, place))
        if len(begun) > most:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


class WriteBehind:
    """Work whose results are asked for at the end, done meanwhile by an executor.

    Parameters
    ----------
    executor
        Who does it, one after the other.
    most
        What may wait: where the executor is slower, it slows the others, and does not fill the memory.
    """

    def __init__(self, executor: Executor, most: int) -> None:
        self.executor, self.most = executor, most
        self.waiting: deque[Future[object]] = deque()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Hand it over; where too much waits already, wait for the oldest, and raise what that raised."""
        while len(self.waiting) >= self.most:
            self.waiting.popleft().result()
        future = self.executor.submit(fn, *args, **kwargs)
        self.waiting.append(future)  # type: ignore[arg-type]  # only ever waited for
        return future
