"""Who does the work: this process, a local Dask cluster, or a scheduler somewhere else.

Dask is a pool of futures here, not a graph: a bounded number of tasks is in flight, each reads and
writes its own pixels and returns a small record. Tasks may run twice or be killed without harm.
"""

from __future__ import annotations

import logging
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any, Protocol, TypeVar

from glassplate.pipeline.errors import GlassplateError, UsageError

Task = TypeVar("Task")
Tell = Callable[[Mapping[str, Any]], None]
Work = Callable[[Any, Tell], Any]

# Tasks in flight for each worker: one runs, one waits, so that no worker idles while the client
# takes in a result; more would only grow the loss when a worker dies.
IN_FLIGHT = 2

# Seconds without a result after which the pool looks whether it still has workers: a worker that
# died is started again within about three.
PATIENCE_S = 30.0

# Seconds between two messages of one task: often enough for a progress bar, too rare to cost.
TELL_PERIOD_S = 1.0

# Seconds to wait for the small record of a task that has ended; it is there at once, unless its worker
# died meanwhile, and then the task is done anew.
RESULT_S = 30.0


@dataclass(frozen=True)
class Failure:
    """A task that could not be done."""

    reason: str
    """One line."""


def with_its_kind(error: Exception) -> str:
    """What an error is and says."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


class Pool(Protocol):
    """Does tasks, in any order."""

    workers: int
    """Tasks that run at once."""
    name: str
    """For the manifest: inline, local or the scheduler's address."""

    def expect(self, tasks: int) -> None:
        """Be told, before the first `map` of a run, how many tasks its longest stage has."""
        ...

    def map(
        self, work: Work, tasks: Sequence[Task], tell: Tell
    ) -> Iterator[tuple[Task, Any | Failure]]:
        """Do `work(task, tell)` for every task; yield each with its result as it ends.

        Parameters
        ----------
        work
            An importable function; what it raises becomes a `Failure`.
        tasks
            Small and picklable.
        tell
            Called in this process with what the work tells while it runs.
        """
        ...


class InlinePool:
    """One task after another, in this process."""

    workers = 1
    name = "inline"

    def expect(self, tasks: int) -> None:
        """See `Pool.expect`; it makes no difference."""

    def map(
        self, work: Work, tasks: Sequence[Task], tell: Tell
    ) -> Iterator[tuple[Task, Any | Failure]]:
        """See `Pool.map`."""
        for task in tasks:
            yield task, attempt(work, task, tell)


def attempt(work: Work, task: Any, tell: Tell) -> Any | Failure:
    """Do one task; what goes wrong with it becomes a `Failure`, since others can still be done."""
    try:
        return work(task, tell)
    except Exception as error:  # any fault of one task must not end the others
        return Failure(with_its_kind(error))


def seldom(tell: Tell) -> Tell:
    """Pass on no more than one message a period; the others are lost."""
    last = time.monotonic()

    def told(message: Mapping[str, Any]) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= TELL_PERIOD_S:
            last = now
            tell(message)

    return told


class DaskPool:
    """Futures on a Dask scheduler; safe to use from several threads at once."""

    def __init__(self, client: Any, *, name: str) -> None:
        self._client = client
        self.name = name
        info = client.scheduler_info(n_workers=-1)["workers"]
        self.workers = max(1, sum(worker["nthreads"] for worker in info.values()))
        has_slots = any("GPU" in worker.get("resources", {}) for worker in info.values())
        self._resources = {"GPU": 1} if has_slots else None

    def expect(self, tasks: int) -> None:
        """See `Pool.expect`; the workers are there already."""

    def map(
        self, work: Work, tasks: Sequence[Task], tell: Tell
    ) -> Iterator[tuple[Task, Any | Failure]]:
        """See `Pool.map`."""
        topic = f"glassplate-{uuid.uuid4().hex}"
        self._client.subscribe_topic(topic, lambda event: tell(event[1]["told"]))
        suspects: list[Task] = []
        try:
            for task, outcome in self._flow(work, tasks, topic, IN_FLIGHT * self.workers):
                if isinstance(outcome, _WorkerDied):
                    suspects.append(task)
                else:
                    yield task, outcome
            # a task that kills its worker takes innocent ones with it: try each by itself
            for task, outcome in self._flow(work, suspects, topic, 1):
                died = isinstance(outcome, _WorkerDied)
                yield task, Failure("its worker died, also alone") if died else outcome
        finally:
            if self._client.status == "running":  # an interrupted run closes the pool first
                self._client.unsubscribe_topic(topic)

    def _flow(
        self, work: Work, tasks: Iterable[Task], topic: str, in_flight: int
    ) -> Iterator[tuple[Task, Any]]:
        """Keep `in_flight` tasks submitted until all are done."""
        from distributed import wait

        waiting = iter(tasks)
        running: dict[Any, Task] = {}

        def submit() -> None:
            for task in waiting:
                future = self._client.submit(
                    _on_worker, work, task, topic, resources=self._resources, pure=False
                )
                running[future] = task
                return

        try:
            for _ in range(in_flight):
                submit()
            while running:
                try:
                    with self._client.as_current():
                        ended = wait(list(running), PATIENCE_S, "FIRST_COMPLETED").done
                except TimeoutError:
                    self._check_alive()
                    continue
                for future in ended:
                    submit()
                    yield running.pop(future), _outcome(future)
        finally:
            if self._client.status == "running":
                self._client.cancel(list(running), force=True)

    def _check_alive(self) -> None:
        """Stop waiting where nobody is left to do the work.

        Raises
        ------
        GlassplateError
            If the scheduler has no workers.
        """
        if not self._client.scheduler_info(n_workers=-1)["workers"]:
            raise GlassplateError(
                f"pool {self.name}: all its workers are gone; what is done is kept, "
                "start the workers and give the same command again"
            )


@dataclass(frozen=True)
class _WorkerDied:
    """The outcome of a task whose workers died one after the other."""


def _outcome(future: Any) -> Any:
    """Result of a future that ended; waits a while where its worker died with the result.

    Not for ever: Dask computes a lost result again, but says nothing where that fails too.
    """
    from distributed.client import CancelledError
    from distributed.scheduler import KilledWorker

    try:
        return future.result(timeout=RESULT_S)
    except (KilledWorker, CancelledError, TimeoutError):
        return _WorkerDied()
    except Exception as error:  # what the work raises is a Failure already: this is the cluster's
        return Failure(with_its_kind(error))


def _on_worker(work: Work, task: Any, topic: str) -> Any:
    """Run in a worker: do the task, telling the client through the scheduler's event log."""
    from distributed import get_worker

    worker = get_worker()
    return attempt(work, task, lambda message: worker.log_event(topic, {"told": dict(message)}))


def cpu_count() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpu_count(device: str) -> int:
    """GPUs a local pool would use; 0 where the device is the CPU."""
    if device == "cpu":
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def is_address(kind: str) -> bool:
    """Whether a pool's kind or name is the address of a scheduler, whose workers may be anywhere."""
    return ":" in kind


def default_workers(kind: str, *, workers: int | None, device: str) -> int:
    """Workers that a pool of this kind would have: a GPU each, or a core each.

    One core for each worker is the measured optimum: two fits side by side on a core each take less
    time than one after the other on both (docs/design/002-pool.md).
    """
    if kind == "inline":
        return 1
    if workers is not None:
        return workers
    return gpu_count(device) or cpu_count()


@contextmanager
def open_pool(
    kind: str = "auto",
    *,
    workers: int | None = None,
    device: str = "auto",
    tasks: int | None = None,
) -> Iterator[Pool]:
    """Open a pool, and close it with its workers at the end.

    Parameters
    ----------
    kind
        ``inline``, ``local``, ``auto`` or a scheduler's address such as ``tcp://host:8786``. auto: a
        local cluster where there are several tasks and several workers to do them, else inline.
    workers
        Workers of a local cluster; None: one for each GPU, or for each core.
    device
        ``auto``, ``cpu`` or ``cuda``.
    tasks
        Units of work to expect, where known.

    Raises
    ------
    UsageError
        If the number of workers or the address is impossible, or nobody answers there.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"--workers {workers}: at least 1")
    count = default_workers(kind, workers=workers, device=device)
    if kind == "auto":
        kind = "local" if count > 1 and (tasks is None or tasks > 1) else "inline"
    if kind == "inline":
        yield InlinePool()
    elif kind == "local":
        with _local_cluster(count, device) as client:
            yield DaskPool(client, name="local")
    elif is_address(kind):
        with _connected(kind) as client:
            yield DaskPool(client, name=kind)
    else:
        raise UsageError(
            f"--pool {kind}: expected auto, inline, local or an address such as tcp://host:8786"
        )


# How a worker's memory is handed back to the system. Dask asks glibc for a trim at 64 KiB, which also turns
# off that the size above which every buffer is mapped anew, 128 KiB at first, grows with use: a fit then
# maps, clears and unmaps each of its feature maps in each iteration. (25 fits of 64x64, 21 iterations: 0.77 s
# each in a worker, 0.42 s without a worker; glibc takes no more than 32 MiB for the second.)
WORKER_ENVIRONMENT = {
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    # torch sets its threads for each fit (the plan says how many); what OpenMP and MKL would start
    # beside it is kept to one
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}

# Dask looks at each worker's stack a hundred times a second, and at the machine twice, for a dashboard that
# is not there. (256 fits of 0.4 s by two workers, of one core each: 53 s without, 59 s with.)
WORKER_SETTINGS = {
    "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "10s",
}


@contextmanager
def _local_cluster(count: int, device: str) -> Iterator[Any]:
    import dask.config
    from distributed import Client, Nanny, Scheduler, SpecCluster

    gpus = gpu_count(device)
    spec = {f"worker-{i}": {"cls": Nanny, "options": worker_options(i, gpus)} for i in range(count)}
    scheduler = {
        "cls": Scheduler,
        # port 0: without an address Dask takes 8787, and warns if another run has it
        "options": {"dashboard": False, "dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"},
    }
    with ExitStack() as stack:
        # Read where a worker is started, which may be again: for as long as the cluster lives.
        stack.enter_context(dask.config.set(WORKER_SETTINGS))
        with _interrupts_held():
            cluster = stack.enter_context(
                SpecCluster(workers=spec, scheduler=scheduler, silence_logs=logging.CRITICAL)
            )
            client = stack.enter_context(Client(cluster, set_as_default=False))
            client.wait_for_workers(count, timeout=120)
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
        "memory_limit": 0,  # the plan bounds memory; Dask would pause or kill by its own guess
        "dashboard": False,
        "dashboard_address": None,
        "host": "127.0.0.1",
        "silence_logs": logging.CRITICAL,  # a worker that dies is survived, and said once
    }


def _visible(gpu: int) -> str:
    """The name of one of the GPUs that this process sees: it may be allowed some of the machine's only."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return allowed.split(",")[gpu].strip() if allowed else str(gpu)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start processes that do not hear Ctrl-C, which a terminal sends to every process of a command.

    Threads and processes inherit the signals that are blocked where they are started. One that comes
    meanwhile is delivered here, at the end.
    """
    # started with the first process, it would unblock what is blocked here
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    from distributed import Client

    try:
        client = Client(address, timeout=10, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(
            f"--pool {address}: no Dask scheduler answers there ({' '.join(str(error).split())})"
        ) from error
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise UsageError(
                f"--pool {address}: the scheduler has no workers; start some with `dask worker`"
            )
        yield client
