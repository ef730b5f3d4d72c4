"""What to expect of each recipe: derived as the time of a plan is, from a trial that is none here."""

from dataclasses import replace

import pytest

from glassplate.models.blur import Blur
from glassplate.models.fit import Problem
from glassplate.pipeline import forecast, rates
from glassplate.pipeline.rates import IMAGE_SIDE, as_timed, make_inputs, plan_of_large, recipe_rates
from glassplate.pipeline.recipe import load_recipe, recipe_names

FITTED = sorted(set(recipe_names()) - {"identity"})


def step_of(problem, window_shape):
    """Seconds of an iteration, were they ten microseconds for each pixel of the estimate."""
    _, height, width = window_shape
    return 1e-5 * height * width * problem.operator.scale**2


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return make_inputs(tmp_path_factory.mktemp("rates"))


@pytest.fixture(scope="module")
def expected():
    return {rate.recipe: rate for rate in recipe_rates("cpu", step_of)}


def large(inputs, name):
    return plan_of_large(inputs, load_recipe(name), name, "cpu")


def test_every_recipe_that_fits_something_is_tried(expected):
    assert list(expected) == FITTED
    assert all(rate.megapixels_per_hour > 0 for rate in expected.values())


@pytest.mark.parametrize("name", FITTED)
def test_a_plan_of_the_same_image_takes_the_same_time(inputs, expected, name, monkeypatch):
    monkeypatch.setattr(forecast, "seconds_per_iteration", step_of)
    seconds = forecast.projected_seconds(large(inputs, name), 1)
    rate = expected[name].megapixels_per_hour
    assert rate == pytest.approx(IMAGE_SIDE**2 / 1e6 / (seconds / 3600))


def test_the_time_of_an_image_is_said_in_one_place(inputs, monkeypatch):
    def said(plan, workers, step_s):
        return 1234.5

    monkeypatch.setattr(forecast, "image_seconds", said)
    monkeypatch.setattr(rates, "image_seconds", said)
    monkeypatch.setattr(forecast, "seconds_per_iteration", step_of)
    assert forecast.projected_seconds(large(inputs, "draft"), 1) == 1234.5
    for rate in recipe_rates("cpu", step_of):
        assert rate.megapixels_per_hour == pytest.approx(IMAGE_SIDE**2 / 1e6 / 1234.5 * 3600)


def test_time_is_that_of_the_donor_of_all_fits_and_of_copying(inputs):
    plan = large(inputs, "archive-denoise")
    copying = forecast.image_seconds(plan, 1, 0.0)
    assert copying == plan.layout.uncompressed_bytes / forecast.COPY_BYTES_PER_S
    # 256 tiles of 200 iterations on windows of 320x320, and a donor's 1000 on windows of 128x128
    fits = forecast.image_seconds(plan, 1, 0.5) - copying
    assert fits == pytest.approx(0.5 * (256 * 200 + 1000 * 128**2 / 320**2))
    two = load_recipe("archive-denoise", ["fit.members=2"])
    both = forecast.image_seconds(replace(plan, recipe=two), 1, 0.5) - copying
    assert both == pytest.approx(0.5 * (256 * 200 * 2 + 1000 * 128**2 / 320**2))


def test_workers_share_the_tiles(inputs):
    plan = large(inputs, "archive-deartifact")
    assert forecast.image_seconds(plan, 1, 1.0) == pytest.approx(
        256 * 300 + forecast.image_seconds(plan, 1, 0.0)
    )
    # 86 rounds of three at once: the last is not full
    assert forecast.image_seconds(plan, 3, 1.0) == pytest.approx(
        86 * 300 + forecast.image_seconds(plan, 3, 0.0)
    )


def test_caps_members_donor_and_windows_are_the_recipes(expected):
    warm = expected["archive-denoise"]
    assert (warm.iterations, warm.members, warm.donor_iterations) == (200, 1, 1000)
    assert (warm.core, warm.window) == ((256, 256), (320, 320))
    colours = expected["archive-colorize"]
    assert (colours.iterations, colours.members, colours.donor_iterations) == (100, 4, 0)
    reference = expected["reference"]
    assert (reference.iterations, reference.window) == (3000, (576, 576))


def test_the_step_grows_with_the_pixels_of_the_window(expected):
    for rate in expected.values():
        pixels = [height * width for height, width in (rate.window, rate.trial)]
        ratio = rate.seconds_per_iteration / rate.trial_seconds_per_iteration
        assert ratio == pytest.approx(pixels[0] / pixels[1])


class TestProblem:
    """Each task has what its pipeline gives it."""

    def of(self, inputs, name):
        return large(inputs, name).tile_problem

    def test_guided_has_a_guide(self, inputs):
        assert self.of(inputs, "guided-denoise").guide_channels == 1

    def test_colorize_has_the_photograph_for_its_guide(self, inputs):
        assert self.of(inputs, "archive-colorize").guide_channels == 1

    def test_deartifact_has_the_steps_of_a_jpeg(self, inputs):
        assert len(self.of(inputs, "archive-deartifact").quantisation.tables) == 1

    def test_deconvolve_has_a_psf(self, inputs):
        operator = self.of(inputs, "astro-deconvolve").operator
        assert isinstance(operator, Blur)
        assert operator.psf.shape == (9, 9)

    def test_superres_has_its_scale(self, inputs):
        assert self.of(inputs, "archive-upscale-fine").operator.scale == 4


class TestTrial:
    def tried(self, inputs, name, seconds_per_pixel):
        shapes = []

        def timer(problem, window_shape):
            assert isinstance(problem, Problem)
            shapes.append(window_shape)
            return seconds_per_pixel * window_shape[1] * window_shape[2]

        plan = large(inputs, name)
        trial = rates._try(plan.tile_problem, plan.grid.window_shape, timer)
        return trial, shapes[:: rates.TRIALS]

    def test_a_slow_device_is_tried_on_the_smallest_window(self, inputs):
        trial, shapes = self.tried(inputs, "reference", 1.0)
        assert trial.shape == (64, 64)
        assert shapes == [(1, 64, 64)]

    def test_a_fast_one_on_the_whole(self, inputs):
        trial, shapes = self.tried(inputs, "archive-denoise", 1e-12)
        assert trial.shape == (320, 320)
        assert shapes == [(1, side, side) for side in (64, 128, 256, 320)]

    def test_small_is_counted_in_pixels_of_the_estimate(self, inputs):
        _, shapes = self.tried(inputs, "archive-upscale-fine", 1.0)
        assert shapes == [(1, 16, 16)]

    def test_one_that_takes_long_enough_is_the_last(self, inputs):
        trial, _ = self.tried(inputs, "archive-denoise", rates.LEAST_TRIAL_S / 100**2)
        assert trial.shape == (128, 128)
        assert trial.seconds == pytest.approx(rates.LEAST_TRIAL_S * 1.28**2)

    def test_the_shortest_of_several_counts(self, inputs):
        times = iter([3.0, 1.0, 2.0])
        plan = large(inputs, "draft")
        trial = rates._try(plan.tile_problem, plan.grid.window_shape, lambda *_: next(times))
        assert trial == rates._Trial((64, 64), 1.0)

    def test_recipes_that_cost_the_same_share_one(self):
        tried = []

        def timer(problem, window_shape):
            tried.append(problem)
            return 1.0

        found = recipe_rates("cpu", timer)
        assert len(set(tried)) == len(tried) / rates.TRIALS < len(found)


def test_what_changes_no_iterations_time_makes_no_difference(inputs):
    problem = large(inputs, "archive-denoise").tile_problem
    longer = replace(problem, fit=replace(problem.fit, iterations=5, members=3, guard=4.0))
    robust = replace(problem, fit=replace(problem.fit, robust=1.5))
    assert as_timed(problem) == as_timed(longer)
    assert as_timed(problem) != as_timed(robust)


def test_an_iteration_of_a_recipe_is_really_timed(inputs):
    problem = large(inputs, "draft").tile_problem
    assert rates.seconds_per_iteration(problem, (1, 16, 16)) > 0
