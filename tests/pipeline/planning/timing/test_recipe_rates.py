"""The rate of each recipe follows from the time of its plan. Trials are replaced by given times."""

import pytest

from glassplate.models.operators.blur import Blur
from glassplate.pipeline.planning.timing import duration as forecast
from glassplate.pipeline.planning.timing import recipe_rates as rates
from glassplate.pipeline.planning.timing.duration import projected_seconds
from glassplate.pipeline.planning.timing.iteration import TRIALS
from glassplate.pipeline.planning.timing.recipe_rates import (
    IMAGE_SIDE,
    make_inputs,
    plan_of_large,
    recipe_rates,
)
from glassplate.pipeline.recipes.recipe import load_recipe, recipe_names

FITTED = sorted(set(recipe_names()) - {"identity"})


def step_of(problem, window_shape):
    """Seconds of an iteration, were they 5 ms and a microsecond for each pixel of the estimate."""
    _, height, width = window_shape
    return 5e-3 + 1e-6 * height * width * problem.operator.scale**2


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return make_inputs(tmp_path_factory.mktemp("rates"))


@pytest.fixture(scope="module")
def expected():
    return {rate.recipe: rate for rate in recipe_rates("cpu", step_of)}


def large(inputs, name):
    return plan_of_large(inputs, load_recipe(name), name, "cpu")


@pytest.mark.slow
def test_every_recipe_that_fits_networks_is_timed(expected):
    assert list(expected) == FITTED
    assert all(rate.megapixels_per_hour > 0 for rate in expected.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", FITTED)
def test_a_plan_of_the_same_image_takes_the_same_time(inputs, expected, name):
    seconds = projected_seconds(large(inputs, name), 1, step_of)
    rate = expected[name].megapixels_per_hour
    assert rate == pytest.approx(IMAGE_SIDE**2 / 1e6 / (seconds / 3600))


@pytest.mark.slow
def test_the_time_of_an_image_is_calculated_in_one_place(inputs, monkeypatch):
    def said(plan, workers, trials):
        return 1234.5

    monkeypatch.setattr(forecast, "image_seconds", said)
    monkeypatch.setattr(rates, "image_seconds", said)
    assert projected_seconds(large(inputs, "draft"), 1, step_of) == 1234.5
    for rate in recipe_rates("cpu", step_of):
        assert rate.megapixels_per_hour == pytest.approx(IMAGE_SIDE**2 / 1e6 / 1234.5 * 3600)


def test_caps_members_donor_and_windows_are_those_of_the_recipe(expected):
    warm = expected["archive-denoise"]
    assert (warm.iterations, warm.members, warm.donor_iterations) == (18, 1, 12000)
    assert (warm.core, warm.window) == ((256, 256), (288, 288))
    colours = expected["archive-colorize"]
    assert (colours.iterations, colours.members, colours.donor_iterations) == (100, 4, 0)
    reference = expected["reference"]
    assert (reference.iterations, reference.window) == (3000, (576, 576))


@pytest.mark.slow
def test_the_iteration_is_that_of_the_trial_on_a_whole_window(inputs, expected):
    for name, rate in expected.items():
        trial = forecast.time_plan(large(inputs, name), step_of).tile
        assert rate.trial == trial.shape
        assert rate.trial_seconds_per_iteration == trial.seconds
        assert rate.seconds_per_iteration == trial.seconds_on(rate.window)


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
        assert self.of(inputs, "astro-upscale").operator.scale == 2


@pytest.mark.slow
def test_recipes_with_the_same_iteration_share_a_trial():
    tried = []

    def timer(problem, window_shape):
        tried.append(problem)
        return 1.0

    found = recipe_rates("cpu", timer)
    assert len(set(tried)) == len(tried) / TRIALS < len(found)
