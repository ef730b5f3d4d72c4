"""Kill a restore at any moment, give the same command again: the bytes are those of a quiet run."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest
from faulty_work import FIT
from runs import digest

from glassplate.pipeline.provenance.verify import verify

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


def tiles_done(store):
    """Tiles that the journal of a run names."""
    journal = store / "provenance" / "tiles.jsonl"
    return len(journal.read_bytes().splitlines()) if journal.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize(("pool", "kills"), [("inline", 2), ("local", 1)])
def test_killed_and_resumed_equals_undisturbed(forks, image, undisturbed, tmp_path, pool, kills):
    store, moments, done = tmp_path / "killed.zarr", random.Random(pool), 0
    for _ in range(kills):
        run = forks.start(image, store, pool, FIT)
        # some tiles later than the last kill, and anywhere within a tile
        goal = done + moments.randint(1, 4)
        while psutil.pid_exists(run) and tiles_done(store) < goal:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.03))
        os.killpg(run, signal.SIGKILL)
        assert forks.code() == -signal.SIGKILL
        done = tiles_done(store)
    # without workers, which take ten seconds of a core to start: any pool resumes what another began
    forks.start(image, store, "inline", FIT)
    assert forks.code() == 0
    assert digest(store) == undisturbed
    assert all(check.ok for check in verify(store))
    assert not list(store.parent.glob(".*")), "no lock, no half-made store is left behind"
