"""Workers that die, hang or compute nonsense: only the tile of the fault is lost, and made later."""

import os
from pathlib import Path

import faulty_work
import psutil
import pytest
from faulty_work import FAULTY, FIT
from runs import digest, request

from glassplate.pipeline.events import TileDone
from glassplate.pipeline.pools.open_pool import open_pool
from glassplate.pipeline.pools.pool import InlinePool
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
    result = restore(request(image, tmp_path / "a.zarr", FIT), pool)
    assert (result.status, result.quarantined) == ("partial", 1)
    assert result.summary.quarantined[str(FAULTY)].startswith(reason)
    monkeypatch.undo()
    check_whole(image, tmp_path / "a.zarr", undisturbed)
