"""Restoring a batch has no more windows in memory at once than the projection counts."""

import threading
import time
import weakref

import numpy as np
import pytest
from astropy.io import fits
from runs import FIT

from glassplate.pipeline.cached_source import cached_source
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.windows_in_memory import most_at_hand, most_restored
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tiles import batch as batch_module
from glassplate.pipeline.tiles.batch import BatchTask, restore_batch
from glassplate.pipeline.tiles.scratch import Scratch


class Alive:
    """How many of the things that were shown to it exist at once, at most."""

    def __init__(self):
        self.now, self.most, self.lock = 0, 0, threading.RLock()

    def seen(self, thing):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        weakref.finalize(thing, self.gone)
        return thing

    def gone(self):
        with self.lock:
            self.now -= 1


@pytest.fixture
def sky(tmp_path):
    image = np.random.default_rng(0).normal(100, 5, (64, 96)).astype("f4")
    fits.writeto(tmp_path / "sky.fits", image)
    return SourceSpec(tmp_path / "sky.fits")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tiles", "members"),
    [
        ({"batch": 1}, 1),
        ({"batch": 24}, 1),
        ({"stack": 3}, 1),
        ({"stack": 3, "batch": 24}, 1),
        ({"stack": 3, "batch": 24}, 2),
        ({"stack": 50, "batch": 24}, 1),
    ],
)
def test_no_more_windows_are_in_memory_than_projected(sky, tmp_path, monkeypatch, tiles, members):
    windows, restored = Alive(), Alive()

    class Watched:
        def read(self, box, channels):
            return windows.seen(cached_source(plan.spec, plan.findings).read(box, channels))

    def fit_each(*args, **more):
        for place, found in real_fits(*args, **more):
            yield place, restored.seen(found)
            del found

    def write(*args):
        time.sleep(0.03)  # so that some wait
        return real_write(*args)

    real_fits, real_write = batch_module.fit_each, Scratch.write_window
    monkeypatch.setattr(batch_module, "cached_source", lambda spec, findings: Watched())
    monkeypatch.setattr(batch_module, "fit_each", fit_each)
    monkeypatch.setattr(Scratch, "write_window", write)
    fit = {"iterations": 2, "members": members, "collaborative": False}
    raw = {**FIT, "fit": fit, "tiles": {"core": 16, "halo": 4, **tiles}}
    plan = make_plan(sky, parse_recipe(raw, "test"), recipe_name="test", device="cpu")
    task = BatchTask(plan, tmp_path, tuple(plan.batches[0]))
    records = restore_batch(task, lambda message: None)
    assert [record.tile for record in records] == list(task.tiles)
    stack, count = plan.numerics.stack, plan.batch_size
    # all fits of a stack end together, and as many windows have come in before the first is restored
    ending = stack if members == 1 else 1
    assert min(ending + stack, count) <= windows.most <= most_at_hand(stack, count)
    assert restored.most <= most_restored(stack, count)
    assert windows.now == restored.now == 0
