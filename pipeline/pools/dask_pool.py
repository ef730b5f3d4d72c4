"""The pool of Dask workers: on this machine, or of a scheduler elsewhere.

Dask serves as a pool of futures here, not as a graph: a bounded number of tasks is submitted at a time.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from typing import Any

from glassplate.pipeline.errors import PassingError, UsageError
from glassplate.pipeline.failures import Failure, FailureKind
from glassplate.pipeline.pools.pool import OnProgress, Task, Work
from glassplate.pipeline.pools.signs import HUNG_S, Signs, attempt_on_worker
from glassplate.pipeline.text import one_line

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

# Seconds that a scheduler may take to answer.
CONNECT_S = 10.0


class DaskPool:
    """Futures on a Dask scheduler; safe to use from several threads at once."""

    def __init__(self, client: Any, *, name: str) -> None:
        self._client = client
        self.name = name
        info = client.scheduler_info(n_workers=-1)["workers"]
        self.workers = max(1, sum(worker["nthreads"] for worker in info.values()))
        has_slots = any("GPU" in worker.get("resources", {}) for worker in info.values())
        self._resources = {"GPU": 1} if has_slots else None
        self._one_suspect = threading.Lock()

    def expect(self, tasks: int) -> None:
        """See `Pool.expect`; the workers are there already."""

    def map(
        self, work: Work, tasks: Sequence[Task], on_progress: OnProgress, turn: int = 0
    ) -> Iterator[tuple[Task, Any | Failure]]:
        """See `Pool.map`."""
        signs = Signs(f"glassplate-{uuid.uuid4().hex}", on_progress)
        self._client.subscribe_topic(signs.topic, signs.heard)
        suspects: list[Task] = []
        try:
            for task, outcome in self._submit_all(
                work, tasks, signs, SUBMITTED_PER_WORKER * self.workers, turn
            ):
                if _worker_died(outcome):
                    suspects.append(task)
                else:
                    yield task, outcome
            # A task that kills its worker takes innocent ones with it, those of other threads too, so each is
            # tried again by itself.
            for suspect in suspects:
                with self._one_suspect:
                    [(task, outcome)] = self._submit_all(work, [suspect], signs, 1, turn)
                yield task, _ALSO_ALONE if _worker_died(outcome) else outcome
        finally:
            if self._client.status == "running":  # an interrupted run closes the pool first
                self._client.unsubscribe_topic(signs.topic)

    def _submit_all(
        self, work: Work, tasks: Iterable[Task], signs: Signs, at_once: int, turn: int
    ) -> Iterator[tuple[Task, Any]]:
        """Keep `at_once` tasks submitted until all are done."""
        waiting, silent_s = iter(tasks), 0.0
        submitted: dict[Any, Task] = {}
        options = {"resources": self._resources, "priority": -turn, "pure": False}

        def submit_next() -> None:
            for task in waiting:
                future = self._client.submit(attempt_on_worker, work, task, signs.topic, **options)
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
            if self._client.status == "running":
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
        if not self._client.scheduler_info(n_workers=-1)["workers"]:
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


# How a worker returns memory to the system. Dask makes glibc trim at 64 KiB, which also keeps glibc from
# raising the size from which each buffer is mapped anew, 128 KiB at first: a fit then maps, clears and
# unmaps each of its feature maps in each iteration. (25 fits of 64x64, 21 iterations: 0.77 s each in a
# worker, 0.42 s without a worker; glibc takes no more than 32 MiB for the second.)
WORKER_ENVIRONMENT = {
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    # torch sets its own threads for each fit, as the plan says; this keeps OpenMP and MKL from starting more
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}

# Dask samples each worker's stack a hundred times a second and the machine twice, for a dashboard that is
# turned off here. (256 fits of 0.4 s by two workers, one core each: 53 s without, 59 s with.)
WORKER_SETTINGS = {
    "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "10s",
}


@contextmanager
def local_cluster(workers: int, gpus: int) -> Iterator[Any]:
    """Start workers on this machine; yield a client of theirs."""
    import dask.config
    from distributed import Client, Nanny, Scheduler, SpecCluster

    spec = {
        f"worker-{i}": {"cls": Nanny, "options": worker_options(i, gpus)} for i in range(workers)
    }
    scheduler = {
        "cls": Scheduler,
        # port 0: without an address Dask takes 8787, and warns if another run has it
        "options": {"dashboard": False, "dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"},
    }
    with ExitStack() as stack:
        # Dask reads the settings whenever it starts or restarts a worker.
        stack.enter_context(dask.config.set(WORKER_SETTINGS))
        with _interrupts_blocked():
            cluster = stack.enter_context(
                SpecCluster(workers=spec, scheduler=scheduler, silence_logs=logging.CRITICAL)
            )
            client = stack.enter_context(Client(cluster, set_as_default=False))
            client.wait_for_workers(workers, timeout=120)
        yield client


def workers_on(gpu: int, workers: int, gpus: int) -> int:
    """Workers of a local pool that share one of its GPUs."""
    return len(range(gpu, workers, gpus))


def worker_options(index: int, gpus: int) -> dict[str, Any]:
    """Options of one local worker: a GPU of its own, or one thread of the CPU."""
    env = {"CUDA_VISIBLE_DEVICES": _visible(index % gpus)} if gpus else {}
    return {
        "nthreads": 1,
        "resources": {"GPU": 1},
        "env": env,
        "memory_limit": 0,  # the plan bounds the memory; Dask would pause or kill by its own guess
        "dashboard": False,
        "dashboard_address": None,
        "host": "127.0.0.1",
        "silence_logs": logging.CRITICAL,  # the run survives a worker's death and reports it once
    }


def _visible(gpu: int) -> str:
    """Name of one of the GPUs that this process may use, which need not be all of the machine's."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return allowed.split(",")[gpu].strip() if allowed else str(gpu)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Start processes that ignore Ctrl-C, which a terminal sends to every process of a command.

    Threads and processes inherit the signals that are blocked when they start. An interrupt that arrives
    meanwhile is delivered here, at the end.
    """
    # multiprocessing starts this with its first process, and it would unblock the signal
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connect to a running scheduler; yield a client of it.

    Raises
    ------
    UsageError
        If no scheduler answers at the address, or it has no workers.
    """
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(
            f"--pool {address}: no Dask scheduler answers there ({one_line(error)})"
        ) from error
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise UsageError(
                f"--pool {address}: the scheduler has no workers; start some with `dask worker`"
            )
        yield client
