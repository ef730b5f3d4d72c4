"""Two processes that restore into one output leave one whole result, whichever of them comes first."""

import json
import random
import subprocess
import sys
import time

import numpy as np
import pytest
import zarr
from astropy.io import fits

from glassplate.pipeline.provenance.manifest import read_manifest
from glassplate.pipeline.provenance.verify import verify

# Each waits for its orders, so that the imports, which take longer than a run, are not what decides.
WORKER = """
import json, sys, time, traceback
from pathlib import Path
from glassplate.pipeline.errors import GlassplateError
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import SourceSpec

print("ready", flush=True)
for line in sys.stdin:
    order = json.loads(line)
    recipe = parse_recipe(order["recipe"], order["name"])
    source, store, export = (Path(order[key]) for key in ("source", "store", "export"))
    request = RestoreRequest(
        SourceSpec(source), store, recipe, order["name"], device="cpu", export=export
    )
    time.sleep(max(0.0, order["at"] - time.time()))
    try:
        restore(request, InlinePool())
        print("0", flush=True)
    except GlassplateError as error:
        print(f"{error.exit_code} {error}", flush=True)
    except BaseException:
        print("1 " + traceback.format_exc().replace("\\n", " | "), flush=True)
"""

BASE = {"task": "identity", "output": {"chunk": 16, "shard": 32}}
RECIPES = {core: {**BASE, "tiles": {"core": core, "halo": 6}} for core in (24, 30)}
PAIRS = 4


@pytest.fixture(scope="module")
def workers():
    """Two processes that restore what their task says."""
    made = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for worker in made:
        assert worker.stdout.readline() == "ready\n"
    yield made
    for worker in made:
        with worker:
            worker.stdin.close()


def ordered(worker, **order):
    worker.stdin.write(json.dumps(order) + "\n")
    worker.stdin.flush()


@pytest.mark.slow
@pytest.mark.parametrize("cores", [(24, 30), (24, 24)], ids=["two recipes", "one recipe"])
def test_every_result_is_whole_and_of_one_run(tmp_path, workers, cores):
    image = np.random.default_rng(0).normal(100, 5, (60, 70)).astype("f4")
    fits.writeto(tmp_path / "sky.fits", image)
    moments = random.Random(str(cores))
    refused = 0
    for pair in range(PAIRS):
        store, export = tmp_path / f"{pair}.zarr", tmp_path / f"{pair}.fits"
        begin = time.time() + 0.1
        for worker, core in zip(workers, cores, strict=True):
            ordered(
                worker,
                recipe=RECIPES[core],
                name=f"core-{core}",
                source=str(tmp_path / "sky.fits"),
                store=str(store),
                export=str(export),
                at=begin + moments.choice([0, 0, moments.uniform(0, 0.5)]),
            )
        answers = sorted(worker.stdout.readline() for worker in workers)
        assert answers[0] == "0\n", answers
        # the second came in the middle, or after the end: then with the same recipe there is nothing to do
        assert answers[1].split()[0] in ("0", "2"), answers
        refused += answers[1].startswith("2")
        assert answers[1].startswith("2") or cores[0] == cores[1]
        assert [(c.name, c.detail) for c in verify(store) if not c.ok] == []
        np.testing.assert_array_equal(zarr.open_group(store, mode="r")["0"][...], image)
        manifest, header = read_manifest(store), fits.getheader(export)
        assert (header["GPRUNID"], header["GPRECIPE"]) == (
            manifest.run_id,
            manifest.recipe_name,
        )
        assert not list(tmp_path.glob(".*")), "nothing hidden is left behind"
    assert refused > 0
