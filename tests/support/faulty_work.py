"""The work on a batch of tiles with a fault in one of them; workers import it by name."""

import math
import os
import signal
import time
from dataclasses import replace
from unittest import mock

import numpy as np

from glassplate.pipeline.sources import open_image
from glassplate.pipeline.sources.fits.image import FitsSource
from glassplate.pipeline.tiles import batch

# Twelve tiles of 90 x 120 pixels, each a batch, half a second together.
FIT = {
    "fit": {"iterations": 12, "log_period": 4},
    "network": {"channels": 8, "skip_channels": 8, "scales": 3},
    "tiles": {"core": 32, "halo": 8, "threads": 1, "batch": 1},
    "output": {"chunk": 16, "shard": 32},
}

FAULTY = 2
"""The tile that has the fault."""


def kills_its_worker(task, on_progress):
    """As the kernel does where memory is short."""
    if FAULTY in task.tiles:
        os.kill(os.getpid(), signal.SIGKILL)
    return batch.restore_batch(task, on_progress)


def hangs(task, on_progress):
    """A fit that never ends."""
    if FAULTY in task.tiles:
        time.sleep(3600)
    return batch.restore_batch(task, on_progress)


def reads_for_ever(task, on_progress):
    """A disk that no longer answers."""

    def read(*_):
        time.sleep(3600)

    if FAULTY not in task.tiles:
        return batch.restore_batch(task, on_progress)
    source = open_image.open_image(task.plan.spec)
    with (
        mock.patch.object(open_image, "OPEN_S", 1.0),
        mock.patch.object(FitsSource, "read", read),
    ):
        return batch.restore_batch_of(source, task, on_progress)


def diverges(task, on_progress):
    """NaN in the measurement of a tile, and so in its fit."""
    measure = batch._measure

    def spoiled(task, window):
        found = measure(task, window)
        if window.tile.index != FAULTY:
            return found
        return replace(found, values=np.full_like(found.values, math.nan))

    with mock.patch.object(batch, "_measure", spoiled):
        return batch.restore_batch(task, on_progress)
