"""Progress messages are throttled; what every pool has in common is tested in test_dask_pool.py."""

from glassplate.pipeline.pools import pool


def test_at_most_one_progress_message_a_period_is_passed_on(monkeypatch):
    clock, passed = [100.0], []
    monkeypatch.setattr(pool.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(pool, "PROGRESS_PERIOD_S", 1.0)
    on_progress = pool.throttled(passed.append)
    for seconds in (0.5, 1.0, 1.2, 1.9, 2.0, 4.5):
        clock[0] = 100.0 + seconds
        on_progress({"iteration": seconds})
    assert [message["iteration"] for message in passed] == [1.0, 2.0, 4.5]
