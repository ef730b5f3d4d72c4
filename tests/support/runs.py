"""Short runs: their recipes and requests, what came out, and a pool that does its work in disorder."""

import hashlib
import random
from pathlib import Path

import numpy as np
import zarr

from glassplate.pipeline.failures import Failure
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.run.restore import RestoreRequest
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tiles import batch as batch_module

# Six tiles of the 50 x 70 pixels that most tests restore, none of which ends where a shard does; two records
# of each. Hundreds of tests run these fits, and more iterations would show no more.
FIT = {
    "fit": {"iterations": 2, "log_period": 1},
    "network": {"channels": 4, "skip_channels": 4, "scales": 2},
    "tiles": {"core": 30, "halo": 6},
    "output": {"chunk": 32, "shard": 32},
}


COPY = {**FIT, "task": "identity"}


def request(source, store, raw, **more):
    spec = source if isinstance(source, SourceSpec) else SourceSpec(Path(source))
    return RestoreRequest(
        spec, Path(store), parse_recipe(raw, "test"), "test", device="cpu", **more
    )


def digest(store):
    group, total = zarr.open_group(str(store), mode="r"), hashlib.sha256()
    for name in sorted(group.array_keys()):
        total.update(name.encode() + np.ascontiguousarray(group[name][...]).tobytes())
    for name in sorted(group["quality"].array_keys()):
        if name != "seconds":
            total.update(name.encode() + group["quality"][name][...].tobytes())
    return total.hexdigest()


def level0(store):
    return zarr.open_group(str(store), mode="r")["0"][...]


class UntidyPool(InlinePool):
    """Does tasks in a random order, some of them twice; stops or fails on request."""

    name, workers = "untidy", 3

    def __init__(self, seed=0, interrupt_after=None, fail=lambda work, task: False):
        self.random, self.interrupt_after, self.fail = random.Random(seed), interrupt_after, fail

    def map(self, work, tasks, on_progress):
        tasks = list(tasks)
        self.random.shuffle(tasks)
        for task in tasks:
            if self.interrupt_after == 0:
                raise KeyboardInterrupt
            if self.interrupt_after is not None:
                self.interrupt_after -= 1
            if self.fail(work, task):
                yield task, Failure.of(FloatingPointError("made to fail"))
                continue
            if self.random.random() < 0.4:
                work(task, on_progress)
            yield task, work(task, on_progress)


def fails_at(*tiles):
    return lambda work, task: work is batch_module.restore_batch and set(task.tiles) & set(tiles)
