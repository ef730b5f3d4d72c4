"""How many fits advance together: what is tried, what was fastest, and that plans know it."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from glassplate.models.device.numerics import WAYS, resolve
from glassplate.models.fit.loop import FitSettings, Problem
from glassplate.models.fit.memory import projected_bytes
from glassplate.models.fit.stopping import StoppingSettings
from glassplate.models.networks.make import NetworkSettings
from glassplate.models.noise.model import NoiseModel
from glassplate.models.operators.operator import Identity
from glassplate.models.transform import PixelTransform
from glassplate.pipeline.planning import make_plan as planning
from glassplate.pipeline.planning import recipe_rates as rates
from glassplate.pipeline.planning import together as choice
from glassplate.pipeline.planning.make_plan import STACK_UNKNOWN, make_plan
from glassplate.pipeline.planning.together import (
    ALONE,
    STACKS_AT_ONCE,
    WIDTHS,
    Together,
    candidates,
    choose,
    file_of_choices,
    known,
    remember,
)
from glassplate.pipeline.planning.trial import TRIALS
from glassplate.pipeline.planning.windows_in_memory import most_at_hand
from glassplate.pipeline.recipe import parse_recipe
from glassplate.pipeline.sources.source import SourceSpec

PROBLEM = Problem(
    NetworkSettings("lean", channels=4, fine_channels=2, scales=2, skip_channels=4),
    FitSettings(iterations=6, log_period=3),
    StoppingSettings(),
    Identity(),
    PixelTransform(),
    NoiseModel(0.01, 0.0, 0.0, False, "given"),
    # not what this processor would take: a test below is about the other one
    resolve("cpu", "fp32"),
)
WINDOW = (1, 40, 40)
SOME = [ALONE, Together(8, "separate"), Together(8, "gemm"), Together(32, "gemm")]
FASTEST_IS_GEMM = dict(zip(SOME, (3.0, 2.5, 1.0, 2.0), strict=True))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A user of their own, who has tried nothing."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Try on the CPU as many widths as on a GPU."""
    monkeypatch.setattr(choice, "WIDTHS", {"cpu": WIDTHS["cuda"]})


class Clock:
    """Seconds of one fit's iteration by what the problem stacks; some cannot be done."""

    def __init__(self, seconds):
        self.seconds, self.asked = seconds, []

    def __call__(self, problem, window_shape):
        one = Together(problem.numerics.stack, problem.numerics.together)
        self.asked.append((one, window_shape))
        if self.seconds[one] is None:
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")
        return self.seconds[one]


class TestCandidates:
    def test_on_a_cpu_there_is_one(self):
        assert candidates(PROBLEM, WINDOW, 1e12) == [ALONE]

    @pytest.mark.usefixtures("as_on_a_gpu")
    def test_on_a_gpu_every_way_at_every_width(self):
        found = candidates(PROBLEM, WINDOW, 1e12)
        expected = [ALONE, *(Together(n, way) for n in WIDTHS["cuda"][1:] for way in WAYS)]
        assert found == expected

    @pytest.mark.usefixtures("as_on_a_gpu")
    def test_those_that_the_memory_is_too_small_for_are_left_out(self):
        at_hand = most_at_hand(8, STACKS_AT_ONCE * 8)
        room = projected_bytes(Together(8, "gemm").of(PROBLEM), WINDOW, at_hand)
        assert {one.stack for one in candidates(PROBLEM, WINDOW, room)} == {1, 8}
        assert candidates(PROBLEM, WINDOW, room - 1) == [ALONE]
        assert candidates(PROBLEM, WINDOW, 1) == [ALONE]


class TestChoose:
    def test_takes_the_fastest_on_the_whole_window(self):
        clock = Clock(FASTEST_IS_GEMM)
        assert choose(PROBLEM, WINDOW, SOME, clock) == Together(8, "gemm")
        assert {window for _, window in clock.asked} == {WINDOW}

    def test_what_the_device_cannot_do_is_not_taken(self):
        clock = Clock({**FASTEST_IS_GEMM, Together(8, "gemm"): None})
        assert choose(PROBLEM, WINDOW, SOME, clock) == Together(32, "gemm")

    def test_what_no_stack_can_do_is_said(self):
        with pytest.raises(RuntimeError, match="CUBLAS_STATUS_ALLOC_FAILED"):
            choose(PROBLEM, WINDOW, SOME, Clock(dict.fromkeys(SOME)))

    def test_tries_real_fits(self):
        some = [ALONE, Together(2, "grouped")]
        assert choose(PROBLEM, WINDOW, some) in some


class TestKnown:
    def test_what_was_remembered(self):
        assert known(PROBLEM) is None
        remember(PROBLEM, Together(8, "gemm"))
        assert known(PROBLEM) == Together(8, "gemm")
        remember(PROBLEM, ALONE)
        assert known(PROBLEM) == ALONE

    def test_for_every_image_of_a_kind(self):
        remember(PROBLEM, Together(8, "gemm"))
        other = replace(
            PROBLEM,
            noise=NoiseModel(3.0, 1.0, 0.2, True, "estimated: gaussian"),
            transform=PixelTransform("asinh", 7.0, 2.0, 5.0),
            fit=replace(PROBLEM.fit, iterations=77, learning_rate=0.1),
        )
        assert known(other) == Together(8, "gemm")

    @pytest.mark.parametrize(
        "other",
        [
            replace(PROBLEM, network=replace(PROBLEM.network, channels=8)),
            replace(PROBLEM, fit=replace(PROBLEM.fit, input="noise")),
        ],
        ids=["network", "input"],
    )
    def test_for_no_other_kind(self, other):
        remember(PROBLEM, Together(8, "gemm"))
        assert known(other) is None
        remember(other, Together(32, "grouped"))
        assert known(PROBLEM) == Together(8, "gemm")
        assert known(other) == Together(32, "grouped")

    @pytest.mark.parametrize(("one", "other"), [("fp32", "bf16"), ("bf16", "fp32")])
    def test_for_no_other_precision(self, one, other):
        problems = [replace(PROBLEM, numerics=resolve("cpu", which)) for which in (one, other)]
        remember(problems[0], Together(8, "gemm"))
        assert [known(problem) for problem in problems] == [Together(8, "gemm"), None]

    @pytest.mark.parametrize("text", ["", "[1]", "{", "7"])
    def test_a_file_that_is_no_good_is_written_anew(self, text):
        path = file_of_choices()
        path.parent.mkdir(parents=True)
        path.write_text(text)
        assert known(PROBLEM) is None
        remember(PROBLEM, Together(8, "gemm"))
        assert known(PROBLEM) == Together(8, "gemm")

    @pytest.mark.parametrize(
        "wrong",
        [
            {"stack": 0, "together": "gemm"},
            {"stack": 8, "together": "all"},
            {"stack": 8},
            "8",
            None,
        ],
    )
    def test_what_makes_no_sense_is_not_taken(self, wrong):
        remember(PROBLEM, Together(8, "gemm"))
        path = file_of_choices()
        path.write_text(json.dumps(dict.fromkeys(json.loads(path.read_text()), wrong)))
        assert known(PROBLEM) is None

    def test_where_nothing_can_be_kept_nothing_is_known(self, home):
        home.write_text("not a folder")
        remember(PROBLEM, Together(8, "gemm"))
        assert known(PROBLEM) is None

    def test_nor_without_a_home_folder(self, monkeypatch):
        def nobody():
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr("pathlib.Path.home", nobody)
        remember(PROBLEM, Together(8, "gemm"))
        assert known(PROBLEM) is None

    def test_several_at_once_lose_nothing(self):
        problems = [
            replace(PROBLEM, network=replace(PROBLEM.network, channels=4 * n)) for n in range(1, 9)
        ]
        threads = [
            threading.Thread(target=remember, args=(one, Together(8, "gemm"))) for one in problems
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(known(one) == Together(8, "gemm") for one in problems)


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
            ({"together": "gemm"}, (1, "separate", 1)),
            ({"stack": 2}, (2, "separate", 8)),
            ({"stack": 3, "together": "gemm"}, (3, "gemm", 12)),
            ({"stack": 50, "together": "gemm"}, (12, "gemm", 12)),
            ({"stack": 8, "together": "gemm", "batch": 5}, (5, "gemm", 5)),
            ({"stack": 8, "together": "gemm", "batch": 1}, (1, "separate", 1)),
            ({"batch": 7}, (1, "separate", 7)),
        ],
    )
    def test_take_what_is_wished_and_no_more_than_there_are_tiles(self, sky, tiles, expected):
        plan = plan_of(sky, **tiles)
        assert (plan.numerics.stack, plan.numerics.together, plan.batch_size) == expected
        assert not plan.warnings

    @pytest.mark.parametrize(("workers", "stack", "batch"), [(1, 4, 12), (3, 4, 4), (5, 3, 3)])
    def test_leave_no_worker_without_a_unit_of_work(self, sky, workers, stack, batch):
        plan = plan_of(sky, workers, stack=4, together="grouped")
        assert (plan.numerics.stack, plan.batch_size) == (stack, batch)
        assert len(plan.batches) >= min(workers, 4)

    def test_on_a_gpu_take_what_is_known(self, sky, monkeypatch):
        def on_a_gpu(**tiles):
            plan = plan_of(sky, **tiles)
            there = replace(plan, numerics=replace(plan.numerics, device="cuda"), warnings=())
            return planning.stacked(there, 1)

        monkeypatch.setattr("torch.cuda.get_device_name", lambda: "NVIDIA H200")
        plan = on_a_gpu()
        assert plan.numerics.stack == 1
        assert plan.warnings == (STACK_UNKNOWN,)
        remember(plan.problem, Together(8, "gemm"))
        plan = on_a_gpu()
        assert (plan.numerics.stack, plan.numerics.together) == (8, "gemm")
        assert not plan.warnings
        wished = on_a_gpu(stack=5).numerics
        assert (wished.stack, wished.together) == (5, "gemm")
        wished = on_a_gpu(together="separate").numerics
        assert (wished.stack, wished.together) == (8, "separate")

    def test_on_a_cpu_ask_nobody(self, sky, monkeypatch):
        def asked(problem):
            raise AssertionError(problem)

        monkeypatch.setattr(planning, "known", asked)
        plan_of(sky)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_doctor_tries_each_recipe_and_plans_know_it(sky, monkeypatch):
    monkeypatch.setattr(rates, "recipe_names", lambda: ["draft"])
    monkeypatch.setattr(rates, "IMAGE_SIDE", 600)
    times = {Together(n, way): 2.0 for n in WIDTHS["cuda"] for way in WAYS}
    clock = Clock({**times, Together(8, "grouped"): 1.0})
    [rate] = rates.recipe_rates("cpu", clock)
    assert (rate.stack, rate.together) == (8, "grouped")
    # what is asked next is for the rate, in that stack
    tried = TRIALS * len(candidates(PROBLEM, WINDOW, 1e12))
    assert clock.asked[tried][0] == Together(8, "grouped")
    recipe = rates.load_recipe("draft")
    problem = make_plan(sky, recipe, recipe_name="draft", device="cpu").problem
    assert known(problem) == Together(8, "grouped")
