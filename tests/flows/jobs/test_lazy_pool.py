import multiprocessing
import sys
import types

import pytest

from glassplate.flows.jobs import lazy_pool
from glassplate.flows.jobs.lazy_pool import LazyPool, PoolInTurn
from glassplate.flows.jobs.running.run_images import images_in_flight
from glassplate.flows.processes.spawning import refuse_unsafe_spawning
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.pools.open_pool import open_pool


def double(task, tell):
    tell({"at": task})
    return 2 * task


@pytest.fixture
def opened(monkeypatch):
    """Arguments with which pools were opened; every pool is inline."""
    calls = []

    def record(kind, *, workers, device, tasks):
        calls.append((kind, workers, device, tasks))
        return open_pool("inline")

    monkeypatch.setattr(lazy_pool, "open_pool", record)
    return calls


def test_nothing_is_opened_without_work(opened):
    with LazyPool("local", workers=3, device="cpu") as pool:
        assert (pool.name, pool.workers) == ("local", 3)
        assert list(pool.map(double, [], print)) == []
    assert opened == []


def test_it_is_opened_once_and_does_the_work(opened):
    told = []
    with LazyPool("auto", workers=2, device="cpu") as pool:
        assert sorted(pool.map(double, [1, 2, 3], told.append)) == [(1, 2), (2, 4), (3, 6)]
        assert list(pool.map(double, [4], told.append)) == [(4, 8)]
        assert (pool.name, pool.workers) == ("inline", 1)
    assert opened == [("auto", 2, "cpu", 3)]
    assert [message["at"] for message in told] == [1, 2, 3, 4]


@pytest.mark.parametrize("expected", [2, 6])
def test_a_single_first_task_does_not_decide(opened, expected):
    # the donor of an image is one task; its many tiles once stayed on one core for this
    with LazyPool("auto", workers=2, device="cpu") as pool:
        pool.expect(expected)
        assert (pool.name, pool.workers) == ("auto", 2)
        list(pool.map(double, [1], print))
    assert opened == [("auto", 2, "cpu", expected)]


@pytest.mark.parametrize(
    ("kind", "images", "named"),
    [("auto", 1, ("inline", 1)), ("auto", 2, ("auto", 2)), ("local", 1, ("local", 2))],
)
def test_the_workers_are_known_before_they_start(opened, kind, images, named):
    # the manifest names the pool before the first task, and once named two workers for a single tile
    with LazyPool(kind, workers=2, device="cpu", images=images) as pool:
        pool.expect(1)
        assert (pool.name, pool.workers) == named
    assert opened == []


def test_a_single_task_of_many_images_does_not_decide(opened):
    with LazyPool("auto", workers=2, device="cpu", images=5) as pool:
        list(pool.map(double, [1], print))
    assert opened == [("auto", 2, "cpu", None)]


@pytest.mark.parametrize("kind", ["lake", "", "Local"])
def test_an_unknown_kind_is_refused_at_once(kind):
    with pytest.raises(UsageError, match="expected auto, inline, local or an address"):
        LazyPool(kind, workers=None, device="cpu")


def test_an_address_is_opened_at_once(opened, monkeypatch):
    with LazyPool("tcp://10.0.0.1:8786", workers=None, device="cpu") as pool:
        assert pool.workers == 1
    assert opened == [("tcp://10.0.0.1:8786", None, "cpu", 0)]


class TestSpawning:
    def test_is_safe_here(self):
        refuse_unsafe_spawning()

    def test_is_refused_while_the_main_module_is_imported(self, monkeypatch):
        monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
        with pytest.raises(UsageError, match='if __name__ == "__main__"'):
            refuse_unsafe_spawning()

    def test_is_refused_where_no_children_are_allowed(self, monkeypatch):
        monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
        with pytest.raises(UsageError, match="may have no children"):
            refuse_unsafe_spawning()

    def test_is_refused_for_a_program_from_a_pipe(self, monkeypatch):
        main = types.ModuleType("__main__")
        main.__file__, main.__spec__ = "<stdin>", None
        monkeypatch.setitem(sys.modules, "__main__", main)
        with pytest.raises(UsageError, match="cannot import <stdin>"):
            refuse_unsafe_spawning()


def test_each_image_has_its_turn_in_the_pool(monkeypatch):
    turns = []

    class Opened:
        name, workers = "local", 3

        def map(self, work, tasks, on_progress, turn=0):
            turns.append(turn)
            return iter(())

    with LazyPool("local", workers=3, device="cpu", images=9) as pool:
        pool._opened = Opened()
        in_turn = PoolInTurn(pool, 7)
        assert (in_turn.name, in_turn.workers) == ("local", 3)
        assert list(in_turn.map(double, [1], print)) == []
    assert turns == [7]


@pytest.mark.parametrize(
    ("kind", "workers", "images", "expected"),
    [
        ("inline", None, 9, 1),
        ("auto", 1, 9, 1),
        ("local", 1, 9, 2),
        ("auto", 4, 9, 5),
        ("local", 4, 3, 3),
    ],
)
def test_how_many_images_are_worked_on_at_once(kind, workers, images, expected):
    pool = LazyPool(kind, workers=workers, device="cpu", images=images)
    assert images_in_flight(pool, images) == expected
