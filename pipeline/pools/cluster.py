"""Dask clusters: workers on this machine, or a scheduler elsewhere that has some."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from typing import Any

from glassplate.pipeline.errors import PassingError, UsageError
from glassplate.pipeline.text import one_line

# Seconds that a scheduler may take to answer.
CONNECT_S = 10.0
# Seconds that all workers of a machine may take to start.
START_S = 120.0

# Dask keeps the last 1000 messages of each connection, for those who look for faults in Dask. Each task is
# one, with all of its plan, and the memory of every process of a job grew by those of the first 200 images.
FEW_MESSAGES = {"distributed.admin.low-level-log-length": 10}

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
    **FEW_MESSAGES,
    "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
    "distributed.worker.profile.enabled": False,
    # A task whose worker died is tried by another one, and then alone (DaskPool.map). Dask would try it four
    # times each, and every worker that dies takes seconds to be there again.
    "distributed.scheduler.allowed-failures": 1,
    # Dask gives up a worker that is not there again 15 s after it died. A busy machine takes longer to start
    # one, and the pool was left without workers.
    "distributed.deploy.lost-worker-timeout": "1h",
    "distributed.admin.system-monitor.interval": "10s",
}


@contextmanager
def local_cluster(workers: int, gpus: int) -> Iterator[Any]:
    """Start workers on this machine; yield a client of theirs.

    Raises
    ------
    PassingError
        If they do not start, as on a machine that has too much to do.
    """
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
        try:
            with _interrupts_blocked():
                cluster = stack.enter_context(
                    SpecCluster(workers=spec, scheduler=scheduler, silence_logs=logging.CRITICAL)
                )
                client = stack.enter_context(Client(cluster, set_as_default=False))
                client.wait_for_workers(workers, timeout=START_S)
        except (RuntimeError, OSError) as error:  # a TimeoutError is an OSError
            raise PassingError(
                f"{workers} workers: did not start on this machine ({one_line(error)}); give the same "
                "command again, or ask for fewer with --workers"
            ) from error
        yield client


def workers_of(client: Any) -> Mapping[str, Any]:
    """What the scheduler of a client knows of its workers now, by their addresses.

    `Client.scheduler_info` has none at times: it returns what was asked for last, and Dask itself asks every
    few seconds, in another thread, without the workers.

    Raises
    ------
    OSError
        If the scheduler does not answer.
    """
    known: Mapping[str, Any] = client.sync(client.scheduler.identity, n_workers=-1)["workers"]
    return known


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
    import dask.config
    from distributed import Client

    try:
        with dask.config.set(FEW_MESSAGES):
            client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(
            f"--pool {address}: no Dask scheduler answers there ({one_line(error)})"
        ) from error
    with client:
        if not workers_of(client):
            raise UsageError(
                f"--pool {address}: the scheduler has no workers; start some with `dask worker`"
            )
        yield client
