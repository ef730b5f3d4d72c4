"""How many fits advance together: what is allowed, what fits, what was fastest, and that it is remembered."""

import json
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from glassplate.models.costs import projected_bytes
from glassplate.models.fit import FitSettings, Problem
from glassplate.models.networks import NetworkSettings
from glassplate.models.noise import NoiseModel
from glassplate.models.numerics import resolve
from glassplate.models.operators import Identity
from glassplate.models.stopping import StoppingSettings
from glassplate.models.transform import PixelTransform
from glassplate.pipeline import choice, planning
from glassplate.pipeline.choice import (
    ALONE,
    WIDTHS,
    Together,
    allowed,
    choose,
    choose_once,
    file_of_choices,
    that_fit,
)
from glassplate.pipeline.planning import make_plan
from glassplate.pipeline.recipe import parse_recipe
from glassplate.pipeline.source import SourceSpec

PROBLEM = Problem(
    NetworkSettings("lean", channels=4, fine_channels=2, scales=2, skip_channels=4),
    FitSettings(iterations=6, log_period=3),
    StoppingSettings(),
    Identity(),
    PixelTransform(),
    NoiseModel(0.01, 0.0, 0.0, False, "given"),
    resolve("cpu"),
)
WINDOW = (1, 40, 40)
SOME = [ALONE, Together(8, "separate"), Together(8, "gemm"), Together(32, "gemm")]


class Clock:
    """Seconds of one fit's iteration by what the problem stacks; some cannot be done."""

    def __init__(self, seconds):
        self.seconds, self.asked = seconds, []

    def __call__(self, problem, window_shape):
        one = Together(problem.numerics.stack, problem.numerics.together)
        self.asked.append(one)
        if self.seconds[one] is None:
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")
        return self.seconds[one]


FASTEST_IS_GEMM = dict(zip(SOME, (3.0, 2.5, 1.0, 2.0), strict=True))


class TestAllowed:
    @pytest.mark.parametrize(
        ("stack", "together", "device", "most", "expected"),
        [
            ("auto", "auto", "cpu", 100, [ALONE]),
            ("auto", "gemm", "cpu", 100, [ALONE]),
            (4, "gemm", "cpu", 100, [Together(4, "gemm")]),
            (4, "gemm", "cuda", 3, [Together(3, "gemm")]),
            (4, "gemm", "cuda", 1, [ALONE]),
            (1, "auto", "cuda", 100, [ALONE]),
            (4, "auto", "cpu", 9, [Together(4, w) for w in ("separate", "grouped", "gemm")]),
            (
                "auto", "grouped", "cuda", 100,
                [ALONE, *(Together(width, "grouped") for width in WIDTHS["cuda"][1:])],
            ),
            ("auto", "grouped", "cuda", 5, [ALONE, Together(5, "grouped")]),
        ],
    )  # fmt: skip
    def test_is_what_settings_device_and_tiles_allow(self, stack, together, device, most, expected):
        assert allowed(stack, together, device, most) == expected

    def test_auto_tries_every_way_at_every_width(self):
        found = allowed("auto", "auto", "cuda", 1000)
        assert found[0] == ALONE
        assert len(found) == len(set(found)) == 3 * len(WIDTHS["cuda"]) - 2


class TestThatFit:
    def test_those_that_the_memory_is_too_small_for_are_left_out(self):
        room = projected_bytes(SOME[2].of(PROBLEM), WINDOW, 8)
        assert that_fit(SOME, PROBLEM, WINDOW, room) == SOME[:3]
        assert that_fit(SOME, PROBLEM, WINDOW, room - 1) == SOME[:1]

    def test_where_none_fits_the_smallest_is_left_for_the_capacity_to_refuse(self):
        assert that_fit(SOME, PROBLEM, WINDOW, 1) == [ALONE]


class TestChoose:
    def test_takes_the_fastest(self):
        assert choose(PROBLEM, WINDOW, SOME, Clock(FASTEST_IS_GEMM)) == Together(8, "gemm")

    def test_what_the_device_cannot_do_is_not_taken(self):
        clock = Clock({**FASTEST_IS_GEMM, Together(8, "gemm"): None})
        assert choose(PROBLEM, WINDOW, SOME, clock) == Together(32, "gemm")

    def test_what_no_stack_can_do_is_said(self):
        with pytest.raises(RuntimeError, match="CUBLAS_STATUS_ALLOC_FAILED"):
            choose(PROBLEM, WINDOW, SOME, Clock(dict.fromkeys(SOME)))

    def test_one_alone_is_not_tried(self):
        clock = Clock({})
        assert choose(PROBLEM, WINDOW, SOME[3:], clock) == SOME[3]
        assert not clock.asked

    def test_tries_real_fits(self):
        some = [ALONE, Together(2, "grouped")]
        assert choose(PROBLEM, WINDOW, some) in some


class TestOnce:
    def test_what_was_tried_is_not_tried_again(self, tmp_path):
        kept = tmp_path / "new" / "together.json"
        clock = Clock(FASTEST_IS_GEMM)
        first = choose_once(PROBLEM, WINDOW, SOME, kept, clock)
        count = len(clock.asked)
        assert count > 0
        assert choose_once(PROBLEM, WINDOW, SOME, kept, clock) == first == Together(8, "gemm")
        assert len(clock.asked) == count
        # what changes no iteration's time changes no choice
        longer = replace(PROBLEM, fit=replace(PROBLEM.fit, iterations=77, members=3))
        choose_once(longer, WINDOW, SOME, kept, clock)
        assert len(clock.asked) == count

    @pytest.mark.parametrize(
        ("problem", "window", "some"),
        [
            (replace(PROBLEM, network=replace(PROBLEM.network, channels=8)), WINDOW, SOME),
            (PROBLEM, (1, 40, 41), SOME),
            (PROBLEM, WINDOW, SOME[:3]),
            (replace(PROBLEM, numerics=replace(PROBLEM.numerics, threads=2)), WINDOW, SOME),
        ],
        ids=["network", "window", "candidates", "numerics"],
    )
    def test_for_anything_else_it_is_tried(self, tmp_path, problem, window, some):
        kept = tmp_path / "together.json"
        choose_once(PROBLEM, WINDOW, SOME, kept, Clock(FASTEST_IS_GEMM))
        clock = Clock(FASTEST_IS_GEMM)
        choose_once(problem, window, some, kept, clock)
        assert clock.asked
        assert len(json.loads(kept.read_text())) == 2

    @pytest.mark.parametrize("text", ["", "[1]", '{"a": 1}', "{"])
    def test_a_file_that_is_no_good_is_written_anew(self, tmp_path, text):
        kept = tmp_path / "together.json"
        kept.write_text(text)
        choose_once(PROBLEM, WINDOW, SOME, kept, Clock(FASTEST_IS_GEMM))
        clock = Clock(FASTEST_IS_GEMM)
        assert choose_once(PROBLEM, WINDOW, SOME, kept, clock) == Together(8, "gemm")
        assert not clock.asked

    def test_a_choice_that_is_none_of_the_candidates_is_made_anew(self, tmp_path):
        kept = tmp_path / "together.json"
        choose_once(PROBLEM, WINDOW, SOME, kept, Clock(FASTEST_IS_GEMM))
        known = json.loads(kept.read_text())
        kept.write_text(json.dumps({key: {"stack": 5, "together": "gemm"} for key in known}))
        assert choose_once(PROBLEM, WINDOW, SOME, kept, Clock(FASTEST_IS_GEMM)) in SOME

    def test_where_nothing_can_be_kept_it_is_tried_each_time(self, tmp_path):
        (tmp_path / "file").write_text("not a folder")
        kept = tmp_path / "file" / "together.json"
        clock = Clock(FASTEST_IS_GEMM)
        assert choose_once(PROBLEM, WINDOW, SOME, kept, clock) == Together(8, "gemm")
        assert choose_once(PROBLEM, WINDOW, SOME, kept, clock) == Together(8, "gemm")
        assert len(clock.asked) > len(SOME)


TILES = {"core": 32, "halo": 8}


class TestPlans:
    @pytest.fixture
    def sky(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        image = np.random.default_rng(0).normal(100, 5, (70, 100)).astype("f4")
        fits.writeto(tmp_path / "sky.fits", image)
        return SourceSpec(tmp_path / "sky.fits")

    def plan(self, sky, **tiles):
        network = {"channels": 4, "skip_channels": 4, "scales": 2}
        raw = {"network": network, "fit": {"iterations": 6}, "tiles": {**TILES, **tiles}}
        return make_plan(sky, parse_recipe(raw, "test"), recipe_name="test", device="cpu")

    def test_on_a_cpu_each_fit_is_alone(self, sky, tmp_path):
        numerics = self.plan(sky).numerics
        assert (numerics.stack, numerics.together) == (1, "separate")
        assert not file_of_choices().exists()

    def test_a_wished_width_is_kept_and_its_way_tried_once(self, sky, tmp_path):
        plan = self.plan(sky, stack=3)
        assert plan.numerics.stack == 3
        assert plan.numerics.together in ("separate", "grouped", "gemm")
        assert plan.batch_size == 12
        assert file_of_choices().is_relative_to(tmp_path)
        [kept] = json.loads(file_of_choices().read_text()).values()
        assert kept == {"stack": 3, "together": plan.numerics.together}
        assert self.plan(sky, stack=3) == plan

    def test_as_on_a_gpu_what_is_fastest_of_what_fits(self, sky, monkeypatch):
        # the CPU, taken for a device that auto tries several on
        monkeypatch.setattr(choice, "WIDTHS", {"cpu": WIDTHS["cuda"]})
        monkeypatch.setattr(planning, "device_room", lambda workers: 2e9 / workers)
        asked = []

        def choose_last(problem, window_shape, candidates, kept):
            asked.append(candidates)
            return candidates[-1]

        monkeypatch.setattr(planning, "choose_once", choose_last)
        plan = self.plan(sky)
        assert len(plan.grid) == 12
        assert (plan.numerics.stack, plan.numerics.together) == (12, "gemm")
        eight = Together(8, "gemm").of(plan.tile_problem)
        room = projected_bytes(eight, plan.grid.window_shape, 8)
        monkeypatch.setattr(planning, "device_room", lambda workers: room / workers)
        assert self.plan(sky).numerics.stack == 8
        assert [len(some) for some in asked] == [7, 4]
