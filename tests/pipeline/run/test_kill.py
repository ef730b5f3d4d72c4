"""Kill a restore at any moment, give the same command again: the bytes are those of a quiet run."""

import json
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

# Imports once, and forks for each run that it is asked for: the imports take six seconds of a core.
FORKS = """
import json, os, sys
from pathlib import Path
from glassplate.pipeline.pools.open_pool import open_pool
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import SourceSpec

def run(source, store, pool, raw):
    os.setsid()
    with open_pool(pool, workers=2, device="cpu") as pool:
        recipe, spec = parse_recipe(raw, "test"), SourceSpec(Path(source))
        restore(RestoreRequest(spec, Path(store), recipe, "test", device="cpu"), pool)

if __name__ == "__main__":
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                run(*json.loads(line))
                code = 0
            finally:
                os._exit(code)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Forks:
    """Runs in processes of their own, each the leader of its group."""

    def __init__(self, folder):
        (folder / "forks.py").write_text(FORKS)
        command = [sys.executable, "-P", str(folder / "forks.py")]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, *words):
        """Start a run; return its process id."""
        self.process.stdin.write(json.dumps([*map(str, words[:-1]), words[-1]]) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def code(self):
        """Wait for the end of the run that was started last; return its exit code."""
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def forks(tmp_path_factory):
    made = Forks(tmp_path_factory.mktemp("forks"))
    with made.process:
        yield made
        made.process.stdin.close()


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
    """Tiles that the journal of a run names."""
    journal = store / "provenance" / "tiles.jsonl"
    return len(journal.read_bytes().splitlines()) if journal.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize(("pool", "kills"), [("inline", 2), ("local", 1)])
def test_killed_and_resumed_equals_undisturbed(forks, sky, undisturbed, tmp_path, pool, kills):
    store, moments, done = tmp_path / "killed.zarr", random.Random(pool), 0
    for _ in range(kills):
        run = forks.start(sky, store, pool, RAW)
        # some tiles later than the last kill, and anywhere within a tile
        goal = done + moments.randint(1, 4)
        while psutil.pid_exists(run) and tiles_done(store) < goal:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.03))
        os.killpg(run, signal.SIGKILL)
        assert forks.code() == -signal.SIGKILL
        done = tiles_done(store)
    # without workers, which take ten seconds of a core to start: any pool resumes what another began
    forks.start(sky, store, "inline", RAW)
    assert forks.code() == 0
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
