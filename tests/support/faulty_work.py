"""The work on a batch of tiles with a fault in one of them; workers import it by name."""

import math
import os
import signal
from dataclasses import replace
from unittest import mock

import numpy as np

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
