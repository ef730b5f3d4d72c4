"""Every pool does each task once, in any order, and survives the failure of one."""

import gc
import os
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pool_work
import pytest

from glassplate.pipeline.errors import GlassplateError
from glassplate.pipeline.failures import Failure, FailureKind
from glassplate.pipeline.pools.cluster import worker_options, workers_of
from glassplate.pipeline.pools.open_pool import open_pool
from glassplate.pipeline.pools.pool import InlinePool

HERE = str(Path(pool_work.__file__).parent)


@pytest.fixture(scope="module")
def local_pool():
    # workers find the tests' work by name
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([HERE, before])
    try:
        with open_pool("local", workers=2, device="cpu") as pool:
            yield pool
    finally:
        os.environ["PYTHONPATH"] = before


@pytest.fixture(params=["inline", "local"])
def pool(request):
    return InlinePool() if request.param == "inline" else request.getfixturevalue("local_pool")


def quiet(message):
    pass


@pytest.mark.slow
def test_every_task_is_done_once(pool):
    results = list(pool.map(pool_work.double, range(30), quiet))
    assert sorted(results) == [(i, 2 * i) for i in range(30)]


@pytest.mark.slow
def test_a_map_over_no_tasks_yields_nothing(pool):
    assert list(pool.map(pool_work.double, [], quiet)) == []


def test_a_failure_is_one_line_and_the_others_go_on(pool):
    results = dict(pool.map(pool_work.fail_at_seven, range(10), quiet))
    assert results.pop(7) == Failure(FailureKind.OTHER, "seven is not done", "ValueError")
    assert results == {i: i for i in range(10) if i != 7}


def test_progress_messages_arrive(pool):
    messages = []
    list(pool.map(pool_work.double, range(5), messages.append))
    deadline = 50
    while len(messages) < 5 and deadline:  # events of a cluster travel beside the results
        time.sleep(0.1)
        deadline -= 1
    assert sorted(message["task"] for message in messages) == list(range(5))


def test_a_pool_keeps_nothing_of_what_was_done(local_pool):
    # Dask keeps the handler of each topic for ever, and with it all that a run of an image had found out
    class Progress:
        def __call__(self, message):
            pass

    kept = []
    for _ in range(3):
        progress = Progress()
        kept.append(weakref.ref(progress))
        list(local_pool.map(pool_work.double, range(3), progress))
        del progress
    gc.collect()
    assert [one() for one in kept] == [None] * 3
    handlers = local_pool._client._event_handlers
    assert len([topic for topic in handlers if topic.startswith("glassplate")]) == 1


def test_the_scheduler_itself_is_asked_for_its_workers(local_pool, monkeypatch):
    # Dask's own call has none when its clock has just asked without them: a job ended, "all its workers are
    # gone", while they were busy
    monkeypatch.setattr(local_pool._client, "scheduler_info", lambda **_: {"workers": {}})
    assert len(workers_of(local_pool._client)) in (1, 2), "one may just be starting again"


def test_results_come_as_they_end(local_pool):
    tasks = [task for task, _ in local_pool.map(pool_work.slow_then_late, range(4), quiet)]
    assert tasks[0] != 0


@pytest.mark.slow
def test_a_worker_keeps_the_memory_that_a_fit_allocates_repeatedly(local_pool):
    # Dask's own setting makes glibc map and clear every buffer anew: 50 times 1024 pages of 4 KiB
    values = 1 << 20
    [(_, faults)] = local_pool.map(pool_work.pages_mapped_again, [values], quiet)
    assert faults < 5 * 1024


def test_a_pool_survives_a_worker_that_dies_once(local_pool, tmp_path):
    results = dict(local_pool.map(pool_work.die_once, [str(tmp_path / "marker")], quiet))
    assert set(results.values()) == {"survived"}


@pytest.mark.slow
def test_a_task_that_kills_its_workers_takes_no_other_with_it(local_pool):
    results = dict(local_pool.map(pool_work.die_at_seven, range(12), quiet))
    assert results.pop(7) == Failure(FailureKind.WORKER_DIED, "its worker died, also alone")
    assert results == {i: i for i in range(12) if i != 7}


def test_suspects_of_several_threads_are_tried_again_one_at_a_time(local_pool, monkeypatch):
    # a task that kills its worker would end the suspects of other images there again, and fail them
    died = Failure(FailureKind.WORKER_DIED, "its worker died")
    alone = threading.Semaphore(1)

    def submit_all(work, tasks, on_progress, at_once, turn):
        for task in tasks:
            if at_once > 1:
                yield task, died
                continue
            assert alone.acquire(blocking=False)
            time.sleep(0.01)
            alone.release()
            yield task, "survived"

    monkeypatch.setattr(local_pool, "_submit_all", submit_all)
    with ThreadPoolExecutor(3) as threads:
        maps = [
            threads.submit(lambda: list(local_pool.map(pool_work.double, range(5), quiet)))
            for _ in range(3)
        ]
    assert all(one.result() == [(i, "survived") for i in range(5)] for one in maps)


def test_tasks_of_a_lower_turn_go_first(local_pool, monkeypatch):
    asked, submit = [], local_pool._client.submit

    def record(*args, priority, **options):
        asked.append(priority)
        return submit(*args, priority=priority, **options)

    monkeypatch.setattr(local_pool._client, "submit", record)
    for turn in (0, 1, 2):
        list(local_pool.map(pool_work.double, [1], quiet, turn))
    assert asked == sorted(asked, reverse=True)
    assert len(set(asked)) == 3


def test_leaving_early_leaves_the_pool_usable(local_pool):
    for _ in local_pool.map(pool_work.double, range(50), quiet):
        break
    assert dict(local_pool.map(pool_work.double, [1], quiet)) == {1: 2}


def test_a_schedulers_address_is_a_pool(local_pool):
    address = local_pool._client.scheduler.address
    with open_pool(address) as pool:
        assert pool.workers in (1, 2), "one may just be starting again"
        assert pool.name == address
        assert dict(pool.map(pool_work.double, [4], quiet)) == {4: 8}


@pytest.mark.parametrize(
    ("gpus", "devices"), [(0, [None] * 3), (1, ["0"] * 3), (2, ["0", "1", "0"])]
)
def test_each_worker_has_a_gpu_of_its_own_or_a_thread(gpus, devices, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    options = [worker_options(i, gpus) for i in range(3)]
    assert [o["env"].get("CUDA_VISIBLE_DEVICES") for o in options] == devices
    assert all(o["nthreads"] == 1 and o["resources"] == {"GPU": 1} for o in options)


@pytest.mark.slow
def test_a_worker_uses_no_gpu_that_this_process_may_not_use(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-8f3a")
    options = [worker_options(i, 2) for i in range(3)]
    assert [o["env"]["CUDA_VISIBLE_DEVICES"] for o in options] == ["2", "GPU-8f3a", "2"]


@pytest.mark.slow
def test_a_pool_without_workers_ends_instead_of_waiting(monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr("glassplate.pipeline.pools.dask_pool.PATIENCE_S", 1.0)
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        open_pool(cluster.scheduler_address) as pool,
    ):
        cluster.scale(0)
        with pytest.raises(GlassplateError, match="all its workers are gone"):
            list(pool.map(pool_work.double, range(5), quiet))
