"""The peak memory of a batch of fits; `peak_memory` calls it in a fork."""

import numpy as np
from peak_memory import status_bytes

from glassplate.models.batching.fit_each import fit_batch
from glassplate.models.fit.problem import Measurement

BARE = status_bytes("VmRSS")


def fit_peak(shape, count, problem):
    """Peak memory of `fit_batch` above that of a process that has only imported it, bytes."""
    windows = [
        Measurement(
            np.random.default_rng(n).random(shape, np.float32), np.ones(shape, bool), None, n
        )
        for n in range(count)
    ]
    given = sum(window.values.nbytes + window.valid.nbytes for window in windows)
    fit_batch(windows, problem)
    return status_bytes("VmHWM") - BARE - given
