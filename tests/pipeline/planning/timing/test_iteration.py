"""Trials on windows as small as is meaningful, scaled to a whole window by the pixels painted."""

from dataclasses import replace

import pytest

from glassplate.models.batching.iteration_time import seconds_per_iteration
from glassplate.models.fit.problem import Problem
from glassplate.pipeline.planning.timing.iteration import (
    LEAST_TRIAL_S,
    TRIALS,
    Trial,
    time_window,
    timed_problem,
)
from glassplate.pipeline.planning.timing.recipe_rates import make_inputs, plan_of_large
from glassplate.pipeline.recipes.recipe import load_recipe


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return make_inputs(tmp_path_factory.mktemp("trial"))


def problem_of(inputs, name, *overrides):
    return plan_of_large(inputs, load_recipe(name, overrides), name, "cpu").tile_problem


class Timer:
    """A device that takes so many seconds for each pixel of a window."""

    def __init__(self, seconds_per_pixel):
        self.seconds_per_pixel = seconds_per_pixel
        self.calls = []

    def __call__(self, problem, window_shape):
        assert isinstance(problem, Problem)
        self.calls.append(window_shape)
        return self.seconds_per_pixel * window_shape[1] * window_shape[2]

    @property
    def shapes(self):
        """One of each window."""
        return self.calls[::TRIALS]


@pytest.mark.parametrize(
    ("name", "window_shape", "seconds_per_pixel", "tried"),
    [
        # on a slow device the smallest window is enough
        ("reference", (1, 576, 576), 1.0, [(1, 64, 64)]),
        # which is counted in pixels of the estimate
        ("astro-upscale", (1, 128, 128), 1.0, [(1, 32, 32)]),
        # one that is only enlarged is timed whole
        ("archive-upscale", (1, 128, 128), 1.0, [(1, 128, 128)]),
        # one that takes long enough is the last
        ("archive-denoise", (1, 320, 320), LEAST_TRIAL_S / 100**2, [(1, 64, 64), (1, 128, 128)]),
        # a fast one: the whole window
        (
            "archive-denoise",
            (1, 320, 320),
            1e-12,
            [(1, side, side) for side in (64, 128, 256, 320)],
        ),
        # a window that is small is timed whole, however slow the device
        ("archive-denoise", (3, 40, 50), 1.0, [(3, 40, 50)]),
        ("archive-denoise", (1, 9, 90), 1e-12, [(1, 9, 64), (1, 9, 90)]),
    ],
)
def test_windows_grow_until_an_iteration_takes_long_enough(
    inputs, name, window_shape, seconds_per_pixel, tried
):
    timer = Timer(seconds_per_pixel)
    trial = time_window(problem_of(inputs, name), window_shape, timer)
    assert timer.shapes == tried
    assert trial.shape == tried[-1][1:]
    assert trial.seconds == pytest.approx(seconds_per_pixel * trial.shape[0] * trial.shape[1])


def test_the_shortest_of_several_counts(inputs):
    times = iter([3.0, 1.0, 2.0])
    problem = problem_of(inputs, "draft")
    trial = time_window(problem, (1, 288, 288), lambda *_: next(times))
    assert trial == Trial(timed_problem(problem), (64, 64), 1.0)


@pytest.mark.parametrize(
    ("name", "overrides", "trial", "window", "times"),
    [
        ("archive-denoise", (), (64, 64), (320, 320), 25),
        ("archive-denoise", (), (64, 64), (64, 64), 1),
        ("archive-upscale", ("operator.scale=4",), (16, 16), (64, 128), 32),
        # four scales halve 250 pixels as they halve 256
        ("archive-denoise", (), (64, 64), (250, 250), 16),
        # seven paint 256 for 64 or 128, and 384 for 320
        ("archive-denoise", ("donor.network=same", "network.scales=7"), (64, 64), (128, 128), 1),
        ("archive-denoise", ("donor.network=same", "network.scales=7"), (64, 64), (320, 320), 2.25),
        # nothing is halved
        (
            "archive-denoise",
            ("donor.tiles=0", "network.kind=resnet"),
            (64, 64),
            (250, 250),
            250**2 / 64**2,
        ),
    ],
)
def test_a_whole_window_takes_time_in_proportion_to_the_pixels_painted(
    inputs, name, overrides, trial, window, times
):
    found = Trial(problem_of(inputs, name, *overrides), trial, 0.5)
    assert found.seconds_on(window) == pytest.approx(0.5 * times)


def test_problems_with_the_same_time_of_an_iteration_are_equal(inputs):
    problem = problem_of(inputs, "archive-denoise")
    longer = replace(
        problem, fit=replace(problem.fit, iterations=50, predictions=0, members=3, guard=4.0)
    )
    robust = replace(problem, fit=replace(problem.fit, robust=1.5))
    assert timed_problem(problem) == timed_problem(longer)
    assert timed_problem(problem) != timed_problem(robust)


@pytest.mark.parametrize("stack", [1, 2])
def test_an_iteration_of_a_recipe_takes_time(inputs, stack):
    problem = problem_of(inputs, "draft")
    problem = replace(problem, numerics=replace(problem.numerics, stack=stack))
    assert seconds_per_iteration(problem, (1, 16, 16)) > 0
