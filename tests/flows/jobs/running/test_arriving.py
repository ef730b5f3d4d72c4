"""An image whose file is still being written waits until the file is whole."""

import os
import threading
import time

import pytest

from glassplate.flows.jobs.running import arriving
from glassplate.flows.jobs.running.arriving import is_arriving, wait_until_whole


@pytest.fixture
def quiet(monkeypatch):
    """Files count as whole after 0.4 s without a change, and an image waits for 2 s."""
    monkeypatch.setattr(arriving, "QUIET_NS", 4 * 10**8)
    monkeypatch.setattr(arriving, "PATIENCE_S", 2.0)
    monkeypatch.setattr(arriving, "POLL_S", 0.02)


@pytest.mark.parametrize(
    ("age_s", "expected"), [(0.0, True), (-0.2, True), (60, False), (-60, False)]
)
def test_a_file_that_has_just_changed_is_arriving(quiet, tmp_path, age_s, expected):
    # a time in the future is that of another machine's clock
    path = tmp_path / "a.fits"
    path.write_bytes(b"SIMPLE")
    os.utime(path, (time.time() - age_s,) * 2)
    assert is_arriving(path) == expected


def test_a_file_that_is_missing_is_reported_by_the_work_on_it(quiet, tmp_path):
    assert wait_until_whole([tmp_path / "none.fits"], threading.Event())


def test_a_growing_file_is_waited_for(quiet, tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(b"0")

    def write():
        for _ in range(5):
            time.sleep(0.05)
            with path.open("ab") as file:
                file.write(b"1")

    writer = threading.Thread(target=write)
    writer.start()
    assert wait_until_whole([path], threading.Event())
    assert path.read_bytes() == b"011111"
    writer.join()


def test_the_wait_ends(quiet, tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(b"0")
    stop = threading.Event()
    stop.set()
    assert not wait_until_whole([path], stop)
    os.utime(path, (time.time() + 0.2,) * 2)
    arriving.PATIENCE_S = -1.0
    assert not wait_until_whole([path], threading.Event())
