"""The pool of Dask workers: on this machine, or of a scheduler elsewhere.

Dask serves as a pool of futures here, not as a graph: a bounded number of tasks is submitted at a time.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from glassplate.pipeline.errors import PassingError
from glassplate.pipeline.failures import Failure, FailureKind
from glassplate.pipeline.pools.cluster import CONNECT_S, workers_of
from glassplate.pipeline.pools.pool import OnProgress, Task, Work
from glassplate.pipeline.pools.signs import HUNG_S, Signs, attempt_on_worker

# Submitted tasks for each worker: one runs and one waits, so that no worker idles while the client takes in a
# result. More would only increase the loss when a worker dies.
SUBMITTED_PER_WORKER = 2

# Seconds without a result after which the pool checks that it still has workers.
PATIENCE_S = 30.0

# Seconds within which workers of this machine that died are there again: about three on an idle machine, more
# than thirty with ten programs on two cores.
RESTART_S = 300.0

# Seconds to wait for the record of a task that has ended. It is there at once, unless its worker has died
# since, and then the task is done again.
RESULT_S = 30.0


class DaskPool:
    """Futures on a Dask scheduler; safe to use from several threads at once."""

    def __init__(self, client: Any, *, name: str) -> None:
        self._client = client
        self.name = name
        known = workers_of(client).values()
        self.workers = max(1, sum(worker["nthreads"] for worker in known))
        has_slots = any("GPU" in worker.get("resources", {}) for worker in known)
        self._resources = {"GPU": 1} if has_slots else None
        self._one_suspect = threading.Lock()
        self._signs = Signs()
        client.subscribe_topic(self._signs.topic, self._signs.heard)

    def expect(self, tasks: int) -> None:
        """See `Pool.expect`; the workers are there already."""

    def map(
        self, work: Work, tasks: Sequence[Task], on_progress: OnProgress, turn: int = 0
    ) -> Iterator[tuple[Task, Any | Failure]]:
        """See `Pool.map`."""
        suspects: list[Task] = []
        for task, outcome in self._submit_all(
            work, tasks, on_progress, SUBMITTED_PER_WORKER * self.workers, turn
        ):
            if _worker_died(outcome):
                suspects.append(task)
            else:
                yield task, outcome
        # A task that kills its worker takes innocent ones with it, those of other threads too, so each is
        # tried again by itself.
        for suspect in suspects:
            with self._one_suspect:
                [(task, outcome)] = self._submit_all(work, [suspect], on_progress, 1, turn)
            yield task, _ALSO_ALONE if _worker_died(outcome) else outcome

    def _submit_all(
        self, work: Work, tasks: Iterable[Task], on_progress: OnProgress, at_once: int, turn: int
    ) -> Iterator[tuple[Task, Any]]:
        """Keep `at_once` tasks submitted until all are done."""
        waiting, silent_s, signs = iter(tasks), 0.0, self._signs
        submitted: dict[Any, Task] = {}
        options = {"resources": self._resources, "priority": -turn}

        def submit_next() -> None:
            for task in waiting:
                key = f"{work.__name__}-{uuid.uuid4().hex}"
                signs.expect(key, on_progress)
                future = self._client.submit(
                    attempt_on_worker, work, task, signs.topic, key=key, **options
                )
                submitted[future] = task
                return

        try:
            for _ in range(at_once):
                submit_next()
            while submitted:
                ended = self._some_ended(list(submitted))
                silent_s = 0.0 if ended else silent_s + PATIENCE_S
                self._check_workers(silent_s)
                for future in ended:
                    submit_next()
                    signs.forget(future.key)
                    yield submitted.pop(future), _outcome(future)
                for future in list(submitted):
                    if worker := signs.silent_on(future.key):
                        submit_next()
                        self._end_hung(future, worker)
                        signs.forget(future.key)
                        yield submitted.pop(future), _HUNG
        finally:
            for future in submitted:
                signs.forget(future.key)
            if self._client.status == "running":  # an interrupted run closes the pool first
                self._client.cancel(list(submitted), force=True)

    def _some_ended(self, submitted: list[Any]) -> list[Any]:
        """Wait until some futures have ended, at most `PATIENCE_S`; `as_completed` has no such limit."""
        from distributed import wait
        from distributed.client import CancelledError

        try:
            with self._client.as_current():
                return list(wait(submitted, PATIENCE_S, "FIRST_COMPLETED").done)
        except TimeoutError:
            return []
        except CancelledError:
            self._check_scheduler()
            raise

    def _end_hung(self, future: Any, worker: str) -> None:
        """Give up a task that hangs, and start its worker anew, whose other tasks are done elsewhere."""
        self._client.cancel([future], force=True)
        try:
            self._client.restart_workers([worker], timeout=CONNECT_S, raise_for_error=False)
        except TimeoutError:  # it does not even end; no task is given to it any more
            pass
        except ValueError:  # it has no nanny that could start it anew
            self._client.retire_workers([worker])

    def _check_scheduler(self) -> None:
        """Stop where the scheduler is gone, and all that was submitted; raises a `PassingError`."""
        if self._client.status != "running":
            raise PassingError(
                f"pool {self.name}: its scheduler is gone; what is done is kept, "
                "start it and give the same command again"
            )

    def _check_workers(self, silent_s: float) -> None:
        """Stop waiting where no worker is left and none will come; raises a `PassingError`."""
        self._check_scheduler()
        if silent_s < (RESTART_S if self.name == "local" else PATIENCE_S):
            return
        try:
            is_left = bool(workers_of(self._client))
        except OSError:  # the next check knows whether the scheduler is gone
            return
        if not is_left:
            raise PassingError(
                f"pool {self.name}: all its workers are gone; what is done is kept, "
                "start the workers and give the same command again"
            )


_ALSO_ALONE = Failure(FailureKind.WORKER_DIED, "its worker died, also alone")
_HUNG = Failure(FailureKind.HUNG, f"gave no sign of life for {HUNG_S / 60:.0f} min")


def _worker_died(outcome: Any) -> bool:
    return isinstance(outcome, Failure) and outcome.kind is FailureKind.WORKER_DIED


def _outcome(future: Any) -> Any | Failure:
    """Result of a future that has ended.

    It waits at most `RESULT_S` where the worker died with the result: Dask then computes the result again,
    but reports nothing where that fails too.
    """
    from distributed.client import CancelledError
    from distributed.scheduler import KilledWorker

    try:
        return future.result(timeout=RESULT_S)
    except (KilledWorker, CancelledError, TimeoutError):
        return Failure(FailureKind.WORKER_DIED, "its worker died")
    except Exception as error:  # of the cluster: one of the work is a Failure already
        return Failure.of(error)
