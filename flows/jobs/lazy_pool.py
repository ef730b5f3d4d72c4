"""A pool that starts its workers when there is work: a refusal, or a result that is done, need none."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Literal, TypeVar

from glassplate.flows.processes.spawning import refuse_unsafe_spawning
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.failures import Failure
from glassplate.pipeline.open_pool import default_workers, is_address, open_pool
from glassplate.pipeline.pool import OnProgress, Pool, Work

Task = TypeVar("Task")

KINDS = ("auto", "inline", "local")


class StandbyPool:
    """Opens the pool it stands for at the first `map`; safe to use from several threads at once.

    Parameters
    ----------
    kind
        ``inline``, ``local``, ``auto`` or a scheduler's address.
    workers
        Workers of a local cluster; None: one for each GPU, or for each core.
    device
        ``auto``, ``cpu`` or ``cuda``.
    images
        How many images share it; with one, a single unit of work is done in this process where the kind
        is auto.

    Raises
    ------
    UsageError
        If the kind is unknown or nobody answers at the address.
    """

    def __init__(self, kind: str, *, workers: int | None, device: str, images: int = 1) -> None:
        self._kind = kind
        self._asked = workers
        self._device = device
        self._images = images
        self._most_tasks = 0
        self._open: Pool | None = None
        self._closing = ExitStack()
        self._lock = threading.Lock()
        self.name = kind
        self.workers = default_workers(kind, workers=workers, device=device)
        if kind not in KINDS and not is_address(kind):
            raise UsageError(
                f"pool {kind}: expected {', '.join(KINDS)} or an address such as tcp://host:8786"
            )
        if is_address(kind):
            # how many work there, and whether anybody does, only the scheduler knows
            self._pool(0)

    def __enter__(self) -> StandbyPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        self._closing.close()
        return False

    def expect(self, tasks: int) -> None:
        """See `Pool.expect`: the first stage may be a single fit, that of the donor, before many tiles."""
        self._most_tasks = tasks
        if self._open is None and self._kind == "auto" and self._images == 1 and tasks <= 1:
            self.name, self.workers = "inline", 1

    def map(
        self, work: Work, tasks: Sequence[Task], on_progress: OnProgress
    ) -> Iterator[tuple[Task, Any | Failure]]:
        """See `Pool.map`; without tasks nothing is opened."""
        if tasks:
            yield from self._pool(max(len(tasks), self._most_tasks)).map(work, tasks, on_progress)

    def _pool(self, tasks: int) -> Pool:
        with self._lock:
            if self._open is None:
                opened = open_pool(
                    self._kind,
                    workers=self._asked,
                    device=self._device,
                    tasks=tasks if self._images == 1 else None,
                )
                if self._kind != "inline" and not is_address(self._kind):
                    refuse_unsafe_spawning()
                self._open = self._closing.enter_context(opened)
                self.name, self.workers = self._open.name, self._open.workers
            return self._open
