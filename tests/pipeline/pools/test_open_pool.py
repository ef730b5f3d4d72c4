"""The pool that a user names is opened, with as many workers as the machine has cores."""

import os

import pytest

from glassplate.pipeline.errors import PassingError, UsageError
from glassplate.pipeline.pools import cluster
from glassplate.pipeline.pools.open_pool import default_workers, open_pool


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "workers", "message"),
    [
        ("sideways", None, "pool sideways: expected auto, inline, local or an address"),
        ("local", 0, "--workers 0: at least 1"),
        ("tcp://127.0.0.1:9", None, "no Dask scheduler answers there"),
    ],
)
def test_an_impossible_pool_is_refused(kind, workers, message, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_S", 1.0)
    with pytest.raises(UsageError, match=message), open_pool(kind, workers=workers):
        pass


def test_auto_does_a_single_task_in_this_process():
    with open_pool("auto", workers=2, device="cpu", tasks=1) as pool:
        assert pool.name == "inline"


def test_workers_default_to_the_cores():
    assert default_workers("local", workers=None, device="cpu") == len(os.sched_getaffinity(0))
    assert default_workers("inline", workers=7, device="cpu") == 1
    assert default_workers("auto", workers=3, device="cpu") == 3


@pytest.mark.parametrize("error", [RuntimeError("Nanny failed to start."), TimeoutError("late")])
def test_workers_that_do_not_start_are_a_failure_of_the_moment(error, monkeypatch):
    """It quarantined the image that came first, on a machine that had too much to do."""

    def cannot_start(**options):
        raise error

    monkeypatch.setattr("distributed.SpecCluster", cannot_start)
    message = rf"^2 workers: did not start on this machine \({error}\)"
    with (
        pytest.raises(PassingError, match=message),
        open_pool("local", workers=2, device="cpu"),
    ):
        pass
