"""The time of a plan: the donor, every fit to its cap, the copying. Trials are replaced by given times."""

from dataclasses import replace

import pytest

from glassplate.pipeline.planning.timing.duration import (
    COPY_BYTES_PER_S,
    FILTER_S_PER_SAMPLE,
    LEARNING_TO_DOUBLE,
    PREDICTION,
    SIDE_BY_SIDE,
    START_S,
    WORKERS_S,
    PlanTrials,
    busiest_share,
    image_seconds,
    projected_seconds,
    time_plan,
)
from glassplate.pipeline.planning.timing.iteration import TRIALS, Trial
from glassplate.pipeline.planning.timing.recipe_rates import make_inputs, plan_of_large
from glassplate.pipeline.recipes.recipe import load_recipe

WINDOW, DONOR_WINDOW = (288, 288), (128, 128)
# 256 tiles of 200 iterations, and a donor's 1000
THOROUGH = (
    "donor.iterations=1000",
    "donor.windows=32",
    "donor.tile_least=null",
    "donor.tile_predictions=0",
    "donor.tile_passes=1",
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return make_inputs(tmp_path_factory.mktemp("forecast"))


@pytest.fixture
def plan(inputs):
    """256 tiles of 200 iterations on windows of 288x288, and a donor's 1000 on windows of 128x128."""
    return of(inputs, "archive-denoise", "fit.collaborative=false", *THOROUGH)


def of(inputs, name, *overrides):
    return plan_of_large(inputs, load_recipe(name, overrides), name, "cpu")


def stacked(plan, stack):
    return replace(plan, numerics=replace(plan.numerics, stack=stack), batch_size=4 * stack)


def trials_of(plan, tile_s, donor_s=None):
    """Trials on whole windows."""
    _, *window = plan.grid.window_shape
    tile = Trial(plan.tile_problem, tuple(window), tile_s)
    apart = Trial(plan.tile_problem, DONOR_WINDOW, donor_s) if donor_s is not None else tile
    return PlanTrials(tile, apart)


def fits_of(plan, workers, trials):
    """Seconds of a plan's fits, without the start and the copying."""
    return image_seconds(plan, workers, trials) - image_seconds(plan, workers, None)


def timer_of_stacks(calls):
    """A timer that gives 10 us a pixel for a stacked fit and 70 us for one alone."""

    def timer(problem, window_shape):
        calls.append((problem.numerics.stack, window_shape))
        _, height, width = window_shape
        return (70e-6 if problem.numerics.stack == 1 else 10e-6) * height * width

    return timer


def test_without_fits_it_is_the_start_and_the_copying(inputs):
    def timer(problem, window_shape):
        raise AssertionError("there is nothing to time")

    plan = of(inputs, "identity")
    seconds = plan.layout.uncompressed_bytes / COPY_BYTES_PER_S
    two = START_S + WORKERS_S + seconds / 2
    assert projected_seconds(plan, 2, timer) == image_seconds(plan, 2, None) == two
    assert image_seconds(plan, 1, None) == START_S + seconds


def test_the_chips_of_a_mosaic_share_their_trials(plan):
    def timer(problem, window_shape):
        calls.append(window_shape)
        return 1.0

    calls, tried = [], {}
    # another noise and brightness, as another chip has
    other = replace(plan, noise=plan.noise.scaled(3), transform=plan.transform.scaled(3))
    first = projected_seconds(plan, 1, timer, tried)
    count = len(calls)
    assert count
    assert projected_seconds(other, 1, timer, tried) == first
    assert len(calls) == count
    wider = replace(plan, recipe=plan.recipe, grid=replace(plan.grid, halo=plan.grid.halo + 8))
    projected_seconds(wider, 1, timer, tried)
    assert len(calls) > count


def test_no_workers_are_started_for_a_single_unit_of_work(plan):
    one = replace(plan, batch_size=len(plan.grid))
    alone, two = (image_seconds(one, workers, None) for workers in (1, 2))
    assert two < alone


@pytest.mark.parametrize(
    ("overrides", "device", "filtered"),
    [
        ((), "cpu", 256),
        (("fit.members=2",), "cpu", 256),
        (("fit.collaborative=false",), "cpu", 0),
        ((), "cuda", 0),
    ],
)
def test_the_filter_of_similar_blocks_counts_once_a_tile(inputs, overrides, device, filtered):
    # with draft it is a third of the time
    plan = of(inputs, "archive-denoise", *THOROUGH, *overrides)
    plan = replace(plan, numerics=replace(plan.numerics, device=device))
    seconds = fits_of(plan, 1, trials_of(plan, 0.0))
    assert seconds == pytest.approx(filtered * FILTER_S_PER_SAMPLE * 288**2)


def test_a_coarser_pass_of_the_filter_takes_half_of_the_last(inputs):
    plan = of(inputs, "archive-denoise", *THOROUGH, "donor.tile_passes=3")
    seconds = fits_of(plan, 1, trials_of(plan, 0.0))
    assert seconds == pytest.approx(256 * FILTER_S_PER_SAMPLE * 288**2 * 2)


def test_predictions_take_a_part_of_an_iteration(inputs):
    wished = (*THOROUGH, "fit.collaborative=false", "donor.tile_predictions=10")
    plan = of(inputs, "archive-denoise", *wished)
    fits = fits_of(plan, 1, trials_of(plan, 0.5))
    donor = 1000 * 128**2 / 288**2
    assert fits == pytest.approx(0.5 * (256 * (200 + 10 * PREDICTION) + donor))


def test_a_donor_of_many_windows_takes_two_side_by_side(inputs):
    many = (*THOROUGH, "donor.windows=288", "fit.collaborative=false")
    plan = of(inputs, "archive-denoise", *many)
    few = of(inputs, "archive-denoise", *THOROUGH, "fit.collaborative=false")
    assert (plan.donor_windows_a_step, few.donor_windows_a_step) == (2, 1)
    assert plan.donor_iterations == few.donor_iterations
    with_two, alone = (
        [fits_of(one, workers, trials_of(one, 0.5)) for workers in (1, 2)] for one in (plan, few)
    )
    saved = [after - before for before, after in zip(with_two, alone, strict=True)]
    assert saved[0] == pytest.approx(0, abs=1e-9)
    assert saved[1] == pytest.approx(
        (1 - SIDE_BY_SIDE) * 0.5 * plan.donor_iterations * 128**2 / 288**2
    )


def test_it_adds_up_the_donor_and_all_fits(plan):
    assert plan.grid.window_shape == (1, *WINDOW)
    fits = fits_of(plan, 1, trials_of(plan, 0.5))
    assert fits == pytest.approx(0.5 * (256 * 200 + 1000 * 128**2 / 288**2))
    wished = ["fit.members=2", "fit.collaborative=false", *THOROUGH]
    two = replace(plan, recipe=load_recipe("archive-denoise", wished))
    both = fits_of(two, 1, trials_of(plan, 0.5))
    assert both == pytest.approx(0.5 * (256 * 200 * 2 + 1000 * 128**2 / 288**2))


@pytest.mark.parametrize(("scale", "area"), [(2, 1), (3, 5), (4, 5), (8, 21)])
def test_where_only_a_donor_learns_a_tile_takes_one_prediction(inputs, scale, area):
    plan = of(inputs, "archive-upscale", f"operator.scale={scale}")
    assert plan.warm
    fits = fits_of(plan, 1, trials_of(plan, 0.5))
    _, height, width = plan.grid.window_shape
    share = 128**2 / (height * width) / area
    donor = plan.donor_iterations * LEARNING_TO_DOUBLE * share
    # the network paints an even number of pixels
    assert fits == pytest.approx(0.5 * (len(plan.grid) + donor), rel=0.01)


def test_the_donor_has_a_trial_of_its_own(plan):
    assert fits_of(plan, 1, trials_of(plan, 0.5, 0.25)) == pytest.approx(
        0.5 * 256 * 200 + 0.25 * 1000
    )


def test_workers_share_the_tiles_but_not_the_donor(inputs, plan):
    cold = of(inputs, "archive-deartifact")
    assert fits_of(cold, 1, trials_of(cold, 1.0)) == pytest.approx(256 * 300)
    # one of three has 86 of them
    assert fits_of(cold, 3, trials_of(cold, 1.0)) == pytest.approx(86 * 300)
    assert fits_of(plan, 3, trials_of(plan, 1.0, 0.1)) == pytest.approx(86 * 200 + 0.1 * 1000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tiles", "batch", "workers", "share"),
    [
        (12, 1, 1, 12),
        (12, 1, 5, 3),
        (12, 1, 12, 1),
        (12, 1, 20, 1),
        # the last batch is short: alone, it is one worker's third beside two whole ones
        (33, 32, 1, 33),
        (33, 32, 2, 32),
        (65, 32, 2, 33),
        (65, 32, 3, 32),
        (95, 32, 2, 63),
        # none is: all have the same
        (96, 32, 3, 32),
        # the second of two has the short one
        (14, 4, 2, 8),
        # the batch is the image
        (7, 7, 1, 7),
        (7, 7, 4, 7),
    ],
)
def test_the_busiest_worker_counts(plan, tiles, batch, workers, share):
    batches = [range(start, min(start + batch, tiles)) for start in range(0, tiles, batch)]
    assert busiest_share(batches, workers) == share


def test_a_short_last_batch_counts_its_own_tiles(plan):
    """256 tiles in batches of 100: 100, 100 and 56."""
    ragged = replace(plan, batch_size=100)
    trials = trials_of(plan, 1.0, 0.0)
    assert fits_of(ragged, 1, trials) == pytest.approx(256 * 200)
    assert fits_of(ragged, 2, trials) == pytest.approx(156 * 200)
    assert fits_of(ragged, 3, trials) == pytest.approx(100 * 200)


class TestTrials:
    def test_are_of_the_tile_alone_without_stacks(self, plan):
        calls = []
        trials = time_plan(plan, timer_of_stacks(calls))
        assert trials.donor is trials.tile
        assert calls == [(1, (1, 64, 64))] * TRIALS

    def test_of_a_donor_beside_stacks_are_alone_and_on_its_own_window(self, plan):
        calls = []
        several = stacked(plan, 8)
        trials = time_plan(several, timer_of_stacks(calls))
        tile, donor = [(8, (1, 64, 64))] * TRIALS, [(1, (1, 64, 64))] * TRIALS
        assert calls == [*tile, *donor]
        fits = fits_of(several, 1, trials)
        assert fits == pytest.approx(10e-6 * 288**2 * 256 * 200 + 70e-6 * 128**2 * 1000)

    def test_of_a_donor_go_no_further_than_its_window(self, plan):
        calls = []

        def timer(problem, window_shape):
            calls.append((problem.numerics.stack, window_shape[1:]))
            return 1e-3

        trials = time_plan(stacked(plan, 8), timer)
        assert (trials.tile.shape, trials.donor.shape) == (WINDOW, DONOR_WINDOW)
        assert max(shape for stack, shape in calls if stack == 1) == DONOR_WINDOW

    @pytest.mark.parametrize(
        ("name", "overrides"), [("archive-deartifact", ()), ("archive-denoise", ("donor.tiles=0",))]
    )
    def test_are_of_stacks_alone_without_a_donor(self, inputs, name, overrides):
        calls = []
        cold = stacked(of(inputs, name, *overrides), 8)
        assert cold.donor_iterations == 0
        trials = time_plan(cold, timer_of_stacks(calls))
        assert trials.donor is trials.tile
        assert {stack for stack, _ in calls} == {8}
