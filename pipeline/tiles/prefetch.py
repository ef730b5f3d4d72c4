"""Reading the next windows and writing the finished ones while a device fits those between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class SynchronousExecutor(Executor):
    """Does each call before `submit` returns: for a CPU, which gains nothing by a second thread."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call a function; its future raises what the call raised."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # any error: it is raised where the result is asked for
            future.set_exception(error)
        return future


@contextmanager
def reader_and_writer(stack: int) -> Iterator[tuple[Executor, Executor]]:
    """Threads for reading and writing, so that a device does not wait for a disk.

    Parameters
    ----------
    stack
        Fits that advance together; with one, both executors work in the caller's thread.
    """
    if stack == 1:
        yield SynchronousExecutor(), SynchronousExecutor()
    else:
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            yield reader, writer


def read_ahead(
    read: Callable[[int], T], order: Iterable[int], executor: Executor, most: int
) -> Iterator[T]:
    """Read items in order, at most `most` of them in advance.

    Parameters
    ----------
    read
        Gives the item of a number.
    order
        Numbers of the items.
    executor
        Calls `read`.
    most
        Items that are read before they are asked for.
    """
    pending: deque[Future[T]] = deque()
    for number in order:
        pending.append(executor.submit(read, number))
        if len(pending) > most:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


class WriteBehind:
    """Calls that an executor makes meanwhile and whose results are asked for at the end.

    Parameters
    ----------
    executor
        Makes the calls, one after the other.
    most
        Calls that may wait. Where the executor is slower than the caller, the caller is slowed and the memory
        does not grow.
    """

    def __init__(self, executor: Executor, most: int) -> None:
        self.executor, self.most = executor, most
        self.waiting: deque[Future[object]] = deque()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue a call. Where too many wait, wait for the oldest and raise what it raised."""
        while len(self.waiting) >= self.most:
            self.waiting.popleft().result()
        future = self.executor.submit(fn, *args, **kwargs)
        self.waiting.append(future)  # type: ignore[arg-type]  # only ever waited for
        return future
