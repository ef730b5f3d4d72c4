"""How a plan stacks its fits and divides its tiles into units of work."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.stacking import network_stacking
from glassplate.pipeline.planning.stacking.network_stacking import STACK_UNKNOWN, choose_stacking
from glassplate.pipeline.planning.stacking.network_stacking_record import Stacking, record_stacking
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.sources.source import SourceSpec


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A user without a record."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def sky(tmp_path):
    image = np.random.default_rng(0).normal(100, 5, (70, 100)).astype("f4")
    fits.writeto(tmp_path / "sky.fits", image)
    return SourceSpec(tmp_path / "sky.fits")


def plan_of(sky, workers=1, **tiles):
    """A plan of 12 tiles."""
    network = {"channels": 4, "skip_channels": 4, "scales": 2}
    tiles = {"core": 32, "halo": 8, **tiles}
    raw = {"network": network, "fit": {"iterations": 6}, "tiles": tiles}
    recipe = parse_recipe(raw, "test")
    return make_plan(sky, recipe, recipe_name="test", device="cpu", workers=workers)


class TestPlans:
    @pytest.mark.parametrize(
        ("tiles", "expected"),
        [
            ({}, (1, "separate", 1)),
            ({"together": "grouped"}, (1, "separate", 1)),
            ({"stack": 2}, (2, "separate", 8)),
            ({"stack": 3, "together": "grouped"}, (3, "grouped", 12)),
            ({"stack": 50, "together": "grouped"}, (12, "grouped", 12)),
            ({"stack": 8, "together": "grouped", "batch": 5}, (5, "grouped", 5)),
            ({"stack": 8, "together": "grouped", "batch": 1}, (1, "separate", 1)),
            ({"batch": 7}, (1, "separate", 7)),
        ],
    )
    def test_stack_as_the_recipe_says_and_no_more_than_there_are_tiles(self, sky, tiles, expected):
        plan = plan_of(sky, **tiles)
        assert (plan.numerics.stack, plan.numerics.together, plan.batch_size) == expected
        assert STACK_UNKNOWN not in plan.warnings

    @pytest.mark.parametrize(("workers", "stack", "batch"), [(1, 4, 12), (3, 4, 4), (5, 3, 3)])
    def test_have_a_unit_of_work_for_each_worker(self, sky, workers, stack, batch):
        plan = plan_of(sky, workers, stack=4, together="grouped")
        assert (plan.numerics.stack, plan.batch_size) == (stack, batch)
        assert len(plan.batches) >= min(workers, 4)

    def test_on_a_gpu_take_what_is_recorded_stacking(self, sky, monkeypatch):
        def on_a_gpu(**tiles):
            plan = plan_of(sky, **tiles)
            there = replace(plan, numerics=replace(plan.numerics, device="cuda"), warnings=())
            return choose_stacking(there, 1)

        monkeypatch.setattr("torch.cuda.get_device_name", lambda: "NVIDIA H200")
        plan = on_a_gpu()
        assert plan.numerics.stack == 1
        assert plan.warnings == (STACK_UNKNOWN,)
        record_stacking(plan.problem, Stacking(8, "grouped"))
        plan = on_a_gpu()
        assert (plan.numerics.stack, plan.numerics.together) == (8, "grouped")
        assert STACK_UNKNOWN not in plan.warnings
        wished = on_a_gpu(stack=5).numerics
        assert (wished.stack, wished.together) == (5, "grouped")
        wished = on_a_gpu(together="separate").numerics
        assert (wished.stack, wished.together) == (8, "separate")

    def test_on_a_cpu_read_no_record(self, sky, monkeypatch):
        def asked(problem):
            raise AssertionError(problem)

        monkeypatch.setattr(network_stacking, "recorded_stacking", asked)
        plan_of(sky)
