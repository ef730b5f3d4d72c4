"""The peak memory of a batch of fits; `peak_memory` calls it in a fork."""

import numpy as np
import torch
from peak_memory import status_bytes

from glassplate.models.batching.fit_each import fit_batch
from glassplate.models.fit.problem import Measurement
from glassplate.models.networks.make import make_network

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
    fit_batch(windows, problem, start=weights_of(problem, shape[0]))
    return status_bytes("VmHWM") - BARE - given


def weights_of(problem, channels):
    """Weights of a donor that has learnt nothing, where windows learn nothing either."""
    if problem.input != "cross-scale":
        return None
    generator = torch.Generator().manual_seed(0)
    network = make_network(problem.network, channels, channels, generator)
    return {name: weight.numpy() for name, weight in network.state_dict().items()}
