"""Workers that die, hang or compute nonsense: only the tile of the fault is lost, and made later."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import faulty_work
import pool_work
import psutil
import pytest
from faulty_work import FAULTY, FIT
from runs import digest, request

from glassplate.pipeline.errors import PassingError, SourceAwayError, UsageError
from glassplate.pipeline.events import StageStarted, TileDone
from glassplate.pipeline.pools import dask_pool, signs
from glassplate.pipeline.pools.open_pool import open_pool
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.pools.signs import HUNG_S
from glassplate.pipeline.provenance.verify import verify
from glassplate.pipeline.run import tile_stage
from glassplate.pipeline.run.restore import restore

pytestmark = pytest.mark.slow

SUPPORT = str(Path(faulty_work.__file__).parent)


@pytest.fixture(scope="module")
def pool():
    """Two workers, which find the faulty work by name."""
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([SUPPORT, before])
    try:
        with open_pool("local", workers=2, device="cpu") as opened:
            yield opened
    finally:
        os.environ["PYTHONPATH"] = before


@pytest.fixture
def fault(monkeypatch):
    """Put faulty work in place of that on a batch."""
    return lambda work: monkeypatch.setattr(tile_stage, "restore_batch", work)


def check_whole(image, store, undisturbed):
    """Give the same command again without a fault: the result is that of an undisturbed run."""
    assert restore(request(image, store, FIT), InlinePool()).status == "complete"
    assert digest(store) == undisturbed
    assert all(check.ok for check in verify(store))
    assert not list(store.parent.glob(".*"))


def workers_of(pool):
    children = psutil.Process().children(recursive=True)
    return [one for one in children if "spawn_main" in " ".join(one.cmdline())]


def test_a_killed_worker_costs_nothing(pool, image, undisturbed, tmp_path):
    """SIGKILL to a worker while it fits: its tile is done by another, with the same bytes."""
    killed = []

    def kill_one(event):
        if not killed and isinstance(event, TileDone):
            killed.append(workers_of(pool)[0])
            killed[0].kill()

    result = restore(request(image, tmp_path / "a.zarr", FIT), pool, kill_one)
    assert killed
    assert result.status == "complete"
    assert digest(tmp_path / "a.zarr") == undisturbed


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        (faulty_work.kills_its_worker, "its worker died, also alone"),
        (faulty_work.diverges, "FloatingPointError: "),
    ],
)
def test_the_tile_of_a_fault_is_quarantined_alone(
    work, reason, pool, image, undisturbed, tmp_path, fault, monkeypatch
):
    fault(work)
    if work is faulty_work.kills_its_worker:
        # each worker that dies takes seconds to be there again
        monkeypatch.setattr(tile_stage, "ATTEMPTS", 1)
    result = restore(request(image, tmp_path / "a.zarr", FIT), pool)
    assert (result.status, result.quarantined) == ("partial", 1)
    assert result.summary.quarantined[str(FAULTY)].startswith(reason)
    monkeypatch.undo()
    check_whole(image, tmp_path / "a.zarr", undisturbed)


def test_a_fit_that_hangs_is_given_up_and_its_worker_goes_on(
    pool, image, undisturbed, tmp_path, fault, monkeypatch
):
    # the run waited for ever
    fault(faulty_work.diverges)
    restore(request(image, tmp_path / "a.zarr", FIT), InlinePool())
    fault(faulty_work.hangs)
    monkeypatch.setattr(dask_pool, "PATIENCE_S", 0.5)

    def lower_the_limit(event):
        # only for the one tile that is left: on a busy machine any other task may be silent for as long
        if isinstance(event, StageStarted):
            limit = 2.0 if event.stage == "restore" else HUNG_S
            monkeypatch.setattr(signs, "HUNG_S", limit)

    result = restore(request(image, tmp_path / "a.zarr", FIT), pool, lower_the_limit)
    assert (result.status, result.quarantined, result.passing) == ("partial", 1, True)
    assert result.summary.quarantined[str(FAULTY)] == "gave no sign of life for 30 min"
    monkeypatch.undo()
    assert dict(pool.map(pool_work.double, [1, 2], print)) == {1: 2, 2: 4}
    check_whole(image, tmp_path / "a.zarr", undisturbed)


def test_a_source_that_no_longer_answers_ends_the_run(
    pool, image, undisturbed, tmp_path, fault, monkeypatch
):
    # a worker waited for ever
    fault(faulty_work.reads_for_ever)
    with pytest.raises(SourceAwayError, match=r"sky.fits: did not answer within 1 s"):
        restore(request(image, tmp_path / "a.zarr", FIT), pool)
    monkeypatch.undo()
    check_whole(image, tmp_path / "a.zarr", undisturbed)


@pytest.fixture
def elsewhere(tmp_path):
    """A scheduler and a worker in processes of their own, and the address of the scheduler."""
    environment = {**os.environ, "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "2s"}
    words = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    file = tmp_path / "scheduler.json"
    options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    scheduler = subprocess.Popen(
        [*words, *options, "--scheduler-file", str(file)],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    words[-1] = "distributed.cli.dask_worker"
    options = [
        "--nthreads",
        "1",
        "--no-nanny",
        "--no-dashboard",
        "--local-directory",
        str(tmp_path),
    ]
    worker = subprocess.Popen(
        [*words, *options, "--scheduler-file", str(file)],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    while not file.exists() or not file.read_text():
        time.sleep(0.1)
    yield scheduler, json.loads(file.read_text())["address"]
    for process in (worker, scheduler):
        process.kill()
        process.wait()


def test_a_killed_scheduler_ends_the_run(elsewhere, image, undisturbed, tmp_path):
    scheduler, address = elsewhere

    def kill(event):
        if isinstance(event, TileDone):
            scheduler.kill()

    with (
        pytest.raises(PassingError, match=rf"pool {address}: its scheduler is gone"),
        opened_once_it_has_workers(address) as pool,
    ):
        restore(request(image, tmp_path / "a.zarr", FIT), pool, kill)
    check_whole(image, tmp_path / "a.zarr", undisturbed)


@contextmanager
def opened_once_it_has_workers(address):
    for _ in range(200):
        with suppress(UsageError), open_pool(address) as pool:
            yield pool
            return
        time.sleep(0.2)
