"""Kill a restore at any moment, give the same command again: the bytes are those of a quiet run."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from astropy.io import fits
from runs import digest

from glassplate.pipeline.pools.open_pool import open_pool
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.provenance.verify import verify
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import SourceSpec

# Twelve tiles of half a second together.
RAW = {
    "fit": {"iterations": 12, "log_period": 4},
    "network": {"channels": 8, "skip_channels": 8, "scales": 3},
    "tiles": {"core": 32, "halo": 8, "threads": 1},
    "output": {"chunk": 16, "shard": 32},
}

RUN = """
import sys
from pathlib import Path
from glassplate.pipeline.pools.open_pool import open_pool
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import SourceSpec

if __name__ == "__main__":
    with open_pool(sys.argv[3], workers=2, device="cpu") as pool:
        recipe = parse_recipe(eval(sys.argv[4]), "test")
        source, store = Path(sys.argv[1]), Path(sys.argv[2])
        restore(RestoreRequest(SourceSpec(source), store, recipe, "test", device="cpu"), pool)
"""


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    image = np.random.default_rng(0).normal(100, 5, (90, 120)).astype("f4")
    path = tmp_path_factory.mktemp("kill") / "sky.fits"
    fits.writeto(path, image)
    return path


@pytest.fixture(scope="module")
def undisturbed(sky):
    store = sky.with_name("whole.zarr")
    request = RestoreRequest(
        SourceSpec(sky), store, parse_recipe(RAW, "test"), "test", device="cpu"
    )
    restore(request, InlinePool())
    return digest(store)


def tiles_done(store):
    """Tiles that the journal of a run names; None before there is one."""
    journal = store / "provenance" / "tiles.jsonl"
    return len(journal.read_bytes().splitlines()) if journal.exists() else None


# A process with a pool takes ten seconds of a core to start, and each kill needs another one.
@pytest.mark.slow
@pytest.mark.parametrize(("pool", "kills"), [("inline", 2), ("local", 1)])
def test_killed_and_resumed_equals_undisturbed(sky, undisturbed, tmp_path, pool, kills):
    script, store = tmp_path / "run.py", tmp_path / "killed.zarr"
    script.write_text(RUN)
    command = [sys.executable, str(script), str(sky), str(store), pool, repr(RAW)]
    moments, done = random.Random(pool), 0
    for _ in range(kills):
        process = subprocess.Popen(command, start_new_session=True)
        # some tiles later than the last kill, and anywhere within a tile
        goal = done + moments.randint(1, 4)
        while process.poll() is None and (tiles_done(store) or 0) < goal:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.03))
        assert process.poll() is None, "the run ended before it was killed"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        done = tiles_done(store)
    subprocess.run(command, check=True)
    assert digest(store) == undisturbed
    assert all(check.ok for check in verify(store))
    assert not list(store.parent.glob(".*")), "no lock, no half-made store is left behind"


def is_worker(process):
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


@pytest.mark.slow
def test_a_run_survives_the_death_of_a_worker(sky, undisturbed, tmp_path):
    """SIGKILL to a worker while it fits: its tile is done by another, with the same bytes."""
    killed = []

    def kill_one(event):
        children = psutil.Process().children(recursive=True)
        workers = [child for child in children if is_worker(child)]
        if not killed and workers and type(event).__name__ == "TileDone":
            workers[0].kill()
            killed.append(workers[0].pid)

    request = RestoreRequest(
        SourceSpec(sky), tmp_path / "a.zarr", parse_recipe(RAW, "test"), "test", device="cpu"
    )
    with open_pool("local", workers=2, device="cpu") as pool:
        result = restore(request, pool, kill_one)
    assert killed
    assert result.status == "complete"
    assert digest(tmp_path / "a.zarr") == undisturbed
