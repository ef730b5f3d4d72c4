"""How long an iteration takes on this machine, by a short trial."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from glassplate.models.batching.fit_each import fit_batch
from glassplate.models.fit.problem import Measurement, Problem


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
    Seconds of an iteration of the stack over the number of its fits, on random pixels.
    """
    rng = np.random.default_rng(0)
    values = rng.random(window_shape, dtype=np.float32)
    values = problem.transform.inverse(values).astype(np.float32)
    guide_shape = (problem.guide_channels, *window_shape[1:])
    guide = rng.random(guide_shape, dtype=np.float32) if problem.guide_channels else None
    trial = Measurement(values, np.ones(window_shape, bool), None, 0, guide)
    # The first iterations allocate and choose kernels; they are not counted.
    fit = replace(problem.fit, iterations=6, log_period=2, members=1)
    stopping = replace(problem.stopping, rule="fixed")
    trials = [trial] * problem.numerics.stack
    [result, *_] = fit_batch(trials, replace(problem, fit=fit, stopping=stopping))
    # the stack has fewer slots than asked for where memory ran out
    return (result.log[-1].seconds - result.log[0].seconds) / (4 * result.slots)
