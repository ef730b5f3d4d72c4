import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from glassplate.pipeline.tiles.prefetch import SynchronousExecutor, WriteBehind, read_ahead


@pytest.fixture(params=["synchronous", "thread"])
def executor(request):
    if request.param == "synchronous":
        yield SynchronousExecutor()
    else:
        with ThreadPoolExecutor(1) as thread:
            yield thread


def refuse(place):
    raise OSError(f"window {place} cannot be read")


class TestReadAhead:
    @pytest.mark.parametrize("order", [[], [3], [2, 0, 1], list(range(9))])
    def test_items_come_in_order(self, executor, order):
        for most in (0, 1, 4):
            assert list(read_ahead(lambda place: 10 * place, order, executor, most)) == [
                10 * place for place in order
            ]

    @pytest.mark.parametrize("most", [1, 3])
    def test_a_thread_reads_at_most_that_many_in_advance(self, most):
        begun = [threading.Event() for _ in range(9)]
        with ThreadPoolExecutor(1) as thread:
            windows = read_ahead(lambda place: begun[place].set() or place, range(9), thread, most)
            for place in range(9 - most):
                assert next(windows) == place
                assert all(one.wait(10) for one in begun[: place + most + 1])
                assert not any(later.is_set() for later in begun[place + most + 1 :])

    def test_a_synchronous_executor_reads_nothing_in_advance(self):
        begun = []
        windows = read_ahead(
            lambda place: begun.append(place) or place, range(5), SynchronousExecutor(), 0
        )
        for place in range(5):
            assert next(windows) == place
            assert begun == list(range(place + 1))

    def test_an_error_is_raised_in_place_of_its_item(self, executor):
        windows = read_ahead(lambda p: refuse(p) if p == 1 else p, range(3), executor, 1)
        assert next(windows) == 0
        with pytest.raises(OSError, match="window 1 cannot be read"):
            next(windows)


class TestWriteBehind:
    def test_calls_are_made_in_order(self, executor):
        behind, done = WriteBehind(executor, 3), []
        futures = [behind.submit(lambda n: done.append(n) or 2 * n, n) for n in range(20)]
        assert [future.result() for future in futures] == [2 * n for n in range(20)]
        assert done == list(range(20))

    def test_at_most_that_many_calls_wait(self):
        with ThreadPoolExecutor(1) as thread:
            behind, gate = WriteBehind(thread, 4), threading.Event()
            for _ in range(4):
                behind.submit(gate.wait)
            threading.Timer(0.05, gate.set).start()
            behind.submit(int)
            assert gate.is_set()

    def test_an_error_is_raised_by_the_result_and_by_a_later_submit(self, executor):
        behind = WriteBehind(executor, 4)
        first = behind.submit(refuse, 7)
        with pytest.raises(OSError, match="window 7"):
            first.result()
        for n in range(3):
            behind.submit(abs, n)
        # now it is the oldest that waits
        with pytest.raises(OSError, match="window 7"):
            behind.submit(abs, 0)
