"""How a donor is fitted, and tiles that start from it: the problem of a tile that starts alone, changed."""

from __future__ import annotations

from dataclasses import replace

from glassplate.models.fit.problem import Problem
from glassplate.models.fit.settings import LEAST_WINDOWS, DonorSettings, donor_network

# Windows from which a donor of many learns at each step, each in a process of its own. Twelve photographs of
# Kodak as one image, 12 000 windows in all: 31.34 dB with one a step and with two, 31.31 with four.
WINDOWS_A_STEP = 2
# Windows of a donor for which it takes `fit.iterations` steps at most.
WINDOWS_A_FIT = 24


def with_donor_network(problem: Problem, settings: DonorSettings) -> Problem:
    """The problem with the network of a donor and of tiles that start from it."""
    return replace(problem, network=donor_network(problem.network, settings))


def warm(problem: Problem, settings: DonorSettings) -> Problem:
    """The problem of a tile that starts from a donor: fewer, smaller steps and less patience."""
    problem = with_donor_network(problem, settings)
    if problem.input == "cross-scale":
        return problem  # a tile learns nothing
    steps = min(settings.tile_iterations, problem.fit.iterations)
    fit = replace(
        problem.fit,
        iterations=steps + settings.tile_predictions,
        predictions=settings.tile_predictions,
        learning_rate=settings.tile_learning_rate,
        filter_passes=settings.tile_passes,
    )
    # a third of the iterations without a better loss says as much as hundreds from random weights
    third = max(1, steps // 3)
    stopping = replace(
        problem.stopping,
        patience=min(problem.stopping.patience, third),
        minimum=min(problem.stopping.minimum, third),
    )
    return replace(problem, fit=fit, stopping=stopping)


def donor_iterations(problem: Problem, settings: DonorSettings, *, inherited: bool = False) -> int:
    """Optimiser steps of the donor, from random weights or from those of another image's donor."""
    steps = settings.refine if inherited else settings.iterations
    return min(steps, most_steps(problem.fit.iterations, settings))


def most_steps(iterations: int, settings: DonorSettings) -> int:
    """Bound of a donor's steps: the cap of a fit, for each `WINDOWS_A_FIT` of its windows."""
    return iterations * max(settings.windows, WINDOWS_A_FIT) // WINDOWS_A_FIT


def windows_a_step(problem: Problem, settings: DonorSettings, *, inherited: bool = False) -> int:
    """Windows from which a donor learns at each of its steps: several where there are many to learn from."""
    alone = inherited or problem.input == "cross-scale" or settings.windows <= LEAST_WINDOWS
    return 1 if alone else WINDOWS_A_STEP
