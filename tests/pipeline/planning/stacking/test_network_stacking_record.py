"""The fastest stacking is kept for a user, and read back for the same kind of problem."""

import json
import threading
from dataclasses import replace

import pytest
from stacked_problem import PROBLEM

from glassplate.models.device.arithmetic import resolve
from glassplate.models.noise.model import NoiseModel
from glassplate.models.pixel_transform import PixelTransform
from glassplate.pipeline.planning.stacking.network_stacking_record import (
    ALONE,
    Stacking,
    record_file,
    record_stacking,
    recorded_stacking,
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A user without a record."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


class TestRecord:
    def test_is_read_back(self):
        assert recorded_stacking(PROBLEM) is None
        record_stacking(PROBLEM, Stacking(8, "grouped"))
        assert recorded_stacking(PROBLEM) == Stacking(8, "grouped")
        record_stacking(PROBLEM, ALONE)
        assert recorded_stacking(PROBLEM) == ALONE

    def test_holds_for_every_image_of_a_kind(self):
        record_stacking(PROBLEM, Stacking(8, "grouped"))
        other = replace(
            PROBLEM,
            noise=NoiseModel(3.0, 1.0, 0.2, True, "estimated: gaussian"),
            transform=PixelTransform("asinh", 7.0, 2.0, 5.0),
            fit=replace(PROBLEM.fit, iterations=77, learning_rate=0.1),
        )
        assert recorded_stacking(other) == Stacking(8, "grouped")

    @pytest.mark.parametrize(
        "other",
        [
            replace(PROBLEM, network=replace(PROBLEM.network, channels=8)),
            replace(PROBLEM, fit=replace(PROBLEM.fit, input="noise")),
        ],
        ids=["network", "input"],
    )
    def test_holds_for_no_other_kind(self, other):
        record_stacking(PROBLEM, Stacking(8, "grouped"))
        assert recorded_stacking(other) is None
        record_stacking(other, Stacking(32, "grouped"))
        assert recorded_stacking(PROBLEM) == Stacking(8, "grouped")
        assert recorded_stacking(other) == Stacking(32, "grouped")

    @pytest.mark.parametrize(("one", "other"), [("fp32", "bf16"), ("bf16", "fp32")])
    def test_holds_for_no_other_precision(self, one, other):
        problems = [replace(PROBLEM, numerics=resolve("cpu", which)) for which in (one, other)]
        record_stacking(problems[0], Stacking(8, "grouped"))
        assert [recorded_stacking(problem) for problem in problems] == [
            Stacking(8, "grouped"),
            None,
        ]

    @pytest.mark.parametrize("text", ["", "[1]", "{", "7"])
    def test_replaces_a_damaged_file(self, text):
        path = record_file()
        path.parent.mkdir(parents=True)
        path.write_text(text)
        assert recorded_stacking(PROBLEM) is None
        record_stacking(PROBLEM, Stacking(8, "grouped"))
        assert recorded_stacking(PROBLEM) == Stacking(8, "grouped")

    @pytest.mark.parametrize(
        "wrong",
        [
            {"stack": 0, "together": "grouped"},
            {"stack": 8, "together": "all"},
            {"stack": 8},
            "8",
            None,
        ],
    )
    def test_is_ignored_where_it_makes_no_sense(self, wrong):
        record_stacking(PROBLEM, Stacking(8, "grouped"))
        path = record_file()
        path.write_text(json.dumps(dict.fromkeys(json.loads(path.read_text()), wrong)))
        assert recorded_stacking(PROBLEM) is None

    def test_where_nothing_can_be_kept_nothing_is_recorded_stacking(self, home):
        home.write_text("not a folder")
        record_stacking(PROBLEM, Stacking(8, "grouped"))
        assert recorded_stacking(PROBLEM) is None

    def test_is_absent_without_a_home_folder(self, monkeypatch):
        def nobody():
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr("pathlib.Path.home", nobody)
        record_stacking(PROBLEM, Stacking(8, "grouped"))
        assert recorded_stacking(PROBLEM) is None

    def test_survives_several_writers(self):
        problems = [
            replace(PROBLEM, network=replace(PROBLEM.network, channels=4 * n)) for n in range(1, 9)
        ]
        threads = [
            threading.Thread(target=record_stacking, args=(one, Stacking(8, "grouped")))
            for one in problems
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(recorded_stacking(one) == Stacking(8, "grouped") for one in problems)
