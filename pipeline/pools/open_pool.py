"""Open the pool that a user names, with as many workers as the machine has room for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from glassplate.models.device.cores import cpu_count
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.pools.cluster import connected, local_cluster
from glassplate.pipeline.pools.dask_pool import DaskPool
from glassplate.pipeline.pools.pool import InlinePool, Pool

KINDS = ("auto", "inline", "local")


def gpu_count(device: str) -> int:
    """GPUs that a local pool would use; 0 where the device is the CPU."""
    if device == "cpu":
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def is_address(kind: str) -> bool:
    """Whether a pool's kind or name is the address of a scheduler, whose workers may be anywhere."""
    return ":" in kind


def check_kind(kind: str) -> None:
    """Refuse the name of a pool that is none.

    Raises
    ------
    UsageError
        If there is no such kind.
    """
    if kind not in KINDS and not is_address(kind):
        raise UsageError(
            f"pool {kind}: expected {', '.join(KINDS)} or an address such as tcp://host:8786"
        )


def default_workers(kind: str, *, workers: int | None, device: str) -> int:
    """Workers that a pool of this kind would have: one for each GPU, or one for each core.

    One core for each worker is the measured optimum: two fits side by side on a core each take less
    time than one after the other on both (docs/design/002-pool.md).

    Raises
    ------
    UsageError
        If there is no such kind.
    """
    check_kind(kind)
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
        If the number of workers or the address is impossible, or no scheduler answers there.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"--workers {workers}: at least 1")
    count = default_workers(kind, workers=workers, device=device)
    if kind == "auto":
        kind = "local" if count > 1 and (tasks is None or tasks > 1) else "inline"
    if kind == "inline":
        yield InlinePool()
    elif kind == "local":
        with local_cluster(count, gpu_count(device)) as client:
            yield DaskPool(client, name="local")
    else:
        with connected(kind) as client:
            yield DaskPool(client, name=kind)
