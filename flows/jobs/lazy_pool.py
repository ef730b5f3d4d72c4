"""A pool that starts its workers with the first task; a refusal or a finished result needs none."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

from glassplate.flows.processes.spawning import refuse_unsafe_spawning
from glassplate.pipeline.failures import Failure
from glassplate.pipeline.pools.open_pool import check_kind, default_workers, is_address, open_pool
from glassplate.pipeline.pools.pool import OnProgress, Pool, Work

Task = TypeVar("Task")


class LazyPool:
    """Opens the pool that it stands for at the first `map`; several threads may use it at once.

    Parameters
    ----------
    kind
        ``inline``, ``local``, ``auto`` or a scheduler's address.
    workers
        Workers of a local cluster; None: one for each GPU, or for each core.
    device
        ``auto``, ``cpu`` or ``cuda``.
    images
        Number of images that share the pool. With one image and kind ``auto``, a single unit of work
        is done in this process.

    Raises
    ------
    UsageError
        If the kind is unknown or no scheduler answers at the address.
    """

    def __init__(self, kind: str, *, workers: int | None, device: str, images: int = 1) -> None:
        self._kind = kind
        self._given_workers = workers
        self._device = device
        self._images = images
        self._expected_tasks = 0
        self._opened: Pool | None = None
        self._closing = ExitStack()
        self._lock = threading.Lock()
        self.name = kind
        self._workers: int | None = None
        check_kind(kind)
        if is_address(kind):
            # only the scheduler knows whether it has workers, and how many
            self._pool(0)

    def __enter__(self) -> LazyPool:
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.close()

    @property
    def workers(self) -> int:
        """See `Pool.workers`. Unless it is given it is found when it is asked for: torch counts the GPUs."""
        if self._workers is None:
            self._workers = default_workers(
                self._kind, workers=self._given_workers, device=self._device
            )
        return self._workers

    def expect(self, tasks: int) -> None:
        """See `Pool.expect`. The first stage may be one fit, that of the donor, before many tiles."""
        self._expected_tasks = tasks
        if self._opened is None and self._kind == "auto" and self._images == 1 and tasks <= 1:
            self.name, self._workers = "inline", 1

    def map(
        self, work: Work, tasks: Sequence[Task], on_progress: OnProgress, turn: int = 0
    ) -> Iterator[tuple[Task, Any | Failure]]:
        """See `Pool.map`. Without tasks the pool is not opened."""
        if tasks:
            yield from self._pool(max(len(tasks), self._expected_tasks)).map(
                work, tasks, on_progress, turn
            )

    def _pool(self, tasks: int) -> Pool:
        with self._lock:
            if self._opened is None:
                opening = open_pool(
                    self._kind,
                    workers=self._given_workers,
                    device=self._device,
                    tasks=tasks if self._images == 1 else None,
                )
                if self._kind != "inline" and not is_address(self._kind):
                    refuse_unsafe_spawning()
                self._opened = self._closing.enter_context(opening)
                self.name, self._workers = self._opened.name, self._opened.workers
            return self._opened


@dataclass(frozen=True)
class PoolInTurn:
    """A pool as one of several images sees it: its tasks go before those of images that began later.

    The pool then ends one image after another, and the later ones fill it while one is blended and recorded.
    """

    pool: Pool
    turn: int

    @property
    def name(self) -> str:
        """See `Pool.name`."""
        return self.pool.name

    @property
    def workers(self) -> int:
        """See `Pool.workers`."""
        return self.pool.workers

    def expect(self, tasks: int) -> None:
        """See `Pool.expect`."""
        self.pool.expect(tasks)

    def map(
        self, work: Work, tasks: Sequence[Task], on_progress: OnProgress, turn: int = 0
    ) -> Iterator[tuple[Task, Any | Failure]]:
        """See `Pool.map`."""
        return self.pool.map(work, tasks, on_progress, self.turn)
