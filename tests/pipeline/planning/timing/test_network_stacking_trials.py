"""Which stackings are tried on a device, and that the fastest is taken."""

import numpy as np
import pytest
from astropy.io import fits
from stacked_problem import PROBLEM, WINDOW

from glassplate.models.device.numerics import WAYS
from glassplate.models.fit.memory import projected_bytes
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.stacking.network_stacking import STACKS_PER_BATCH
from glassplate.pipeline.planning.stacking.network_stacking_record import (
    ALONE,
    Stacking,
    recorded_stacking,
)
from glassplate.pipeline.planning.timing import network_stacking_trials
from glassplate.pipeline.planning.timing import recipe_rates as rates
from glassplate.pipeline.planning.timing.iteration import TRIALS
from glassplate.pipeline.planning.timing.network_stacking_trials import (
    WIDTHS,
    fastest_stacking,
    stackings_to_try,
)
from glassplate.pipeline.planning.windows_in_memory import most_at_hand
from glassplate.pipeline.sources.source import SourceSpec

SOME = [ALONE, Stacking(8, "separate"), Stacking(8, "grouped"), Stacking(32, "grouped")]
FASTEST_IS_GROUPED = dict(zip(SOME, (3.0, 2.5, 1.0, 2.0), strict=True))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A user without a record."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Try on the CPU as many widths as on a GPU."""
    monkeypatch.setattr(network_stacking_trials, "WIDTHS", {"cpu": WIDTHS["cuda"]})


class Clock:
    """Seconds of one fit's iteration by what the problem stacks; some cannot be done."""

    def __init__(self, seconds):
        self.seconds, self.asked = seconds, []

    def __call__(self, problem, window_shape):
        one = Stacking(problem.numerics.stack, problem.numerics.together)
        self.asked.append((one, window_shape))
        if self.seconds[one] is None:
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")
        return self.seconds[one]


class TestStackingsToTry:
    def test_on_a_cpu_are_one(self):
        assert stackings_to_try(PROBLEM, WINDOW, 1e12) == [ALONE]

    @pytest.mark.usefixtures("as_on_a_gpu")
    def test_on_a_gpu_are_all_ways_at_all_widths(self):
        found = stackings_to_try(PROBLEM, WINDOW, 1e12)
        expected = [ALONE, *(Stacking(n, way) for n in WIDTHS["cuda"][1:] for way in WAYS)]
        assert found == expected

    @pytest.mark.usefixtures("as_on_a_gpu")
    def test_fit_into_the_memory(self):
        at_hand = most_at_hand(8, STACKS_PER_BATCH * 8)
        room = projected_bytes(Stacking(8, "grouped").of(PROBLEM), WINDOW, at_hand)
        assert {one.stack for one in stackings_to_try(PROBLEM, WINDOW, room)} == {1, 8}
        assert stackings_to_try(PROBLEM, WINDOW, room - 1) == [ALONE]
        assert stackings_to_try(PROBLEM, WINDOW, 1) == [ALONE]


class TestFastestStacking:
    def test_is_tried_on_the_whole_window(self):
        clock = Clock(FASTEST_IS_GROUPED)
        assert fastest_stacking(PROBLEM, WINDOW, SOME, clock) == Stacking(8, "grouped")
        assert {window for _, window in clock.asked} == {WINDOW}

    def test_is_one_that_the_device_can_run(self):
        clock = Clock({**FASTEST_IS_GROUPED, Stacking(8, "grouped"): None})
        assert fastest_stacking(PROBLEM, WINDOW, SOME, clock) == Stacking(32, "grouped")

    def test_is_none_where_the_device_can_run_none(self):
        with pytest.raises(RuntimeError, match="CUBLAS_STATUS_ALLOC_FAILED"):
            fastest_stacking(PROBLEM, WINDOW, SOME, Clock(dict.fromkeys(SOME)))

    def test_is_found_by_real_fits(self):
        some = [ALONE, Stacking(2, "grouped")]
        assert fastest_stacking(PROBLEM, WINDOW, some) in some


@pytest.fixture
def sky(tmp_path):
    image = np.random.default_rng(0).normal(100, 5, (70, 100)).astype("f4")
    fits.writeto(tmp_path / "sky.fits", image)
    return SourceSpec(tmp_path / "sky.fits")


@pytest.mark.usefixtures("as_on_a_gpu")
def test_doctor_records_the_fastest_stacking_for_plans(sky, monkeypatch):
    monkeypatch.setattr(rates, "recipe_names", lambda: ["draft"])
    monkeypatch.setattr(rates, "IMAGE_SIDE", 600)
    times = {Stacking(n, way): 2.0 for n in WIDTHS["cuda"] for way in WAYS}
    clock = Clock({**times, Stacking(8, "grouped"): 1.0})
    [rate] = rates.recipe_rates("cpu", clock)
    assert (rate.stack, rate.together) == (8, "grouped")
    # what is asked next is for the rate, in that stack
    tried = TRIALS * len(stackings_to_try(PROBLEM, WINDOW, 1e12))
    assert clock.asked[tried][0] == Stacking(8, "grouped")
    recipe = rates.load_recipe("draft")
    problem = make_plan(sky, recipe, recipe_name="draft", device="cpu").problem
    assert recorded_stacking(problem) == Stacking(8, "grouped")
