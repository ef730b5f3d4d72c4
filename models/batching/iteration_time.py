"""How long an iteration takes on this machine, by a short trial."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch

from glassplate.models.batching.fit_each import fit_batch
from glassplate.models.fit.problem import Measurement, Problem
from glassplate.models.networks.make import make_network


def seconds_per_iteration(problem: Problem, window_shape: tuple[int, int, int]) -> float:
    """Measure one iteration of one fit, with as many beside it as the problem stacks.

    Parameters
    ----------
    problem
        What would be fitted.
    window_shape
        ``(c, h, w)`` of a window, in pixels of the measurement.

    Returns
    -------
    Seconds of an iteration of the stack over the number of its fits, on random pixels. Where a window learns
    nothing, and is enlarged by what a donor has learnt, all that is done to it counts as one iteration.
    """
    rng = np.random.default_rng(0)
    values = rng.random(window_shape, dtype=np.float32)
    values = problem.transform.inverse(values).astype(np.float32)
    guide_shape = (problem.guide_channels, *window_shape[1:])
    guide = rng.random(guide_shape, dtype=np.float32) if problem.guide_channels else None
    trial = Measurement(values, np.ones(window_shape, bool), None, 0, guide)
    if problem.input == "cross-scale":
        return _seconds_to_enlarge(trial, problem)
    # The first iterations allocate and choose kernels; they are not counted.
    fit = replace(problem.fit, iterations=6, log_period=2, members=1)
    stopping = replace(problem.stopping, rule="fixed")
    trials = [trial] * problem.numerics.stack
    [result, *_] = fit_batch(trials, replace(problem, fit=fit, stopping=stopping))
    # the stack has fewer slots than asked for where memory ran out
    return (result.log[-1].seconds - result.log[0].seconds) / (4 * result.slots)


def _seconds_to_enlarge(trial: Measurement, problem: Problem) -> float:
    """Measure how long it takes to enlarge a window with a network that has learnt nothing."""
    channels = len(trial.values)
    generator = torch.Generator().manual_seed(trial.seed)
    network = make_network(problem.network, channels, channels, generator)
    weights = {name: weight.numpy() for name, weight in network.state_dict().items()}
    for _ in range(2):  # the first allocates and chooses kernels
        began = time.perf_counter()
        fit_batch([trial], problem, start=weights)
        seconds = time.perf_counter() - began
    return seconds
