"""Damaged files end in a result or in one line, soon; `benchmarks/damaged.py` tries many more of them."""

import importlib
import sys
from pathlib import Path

import pytest

from glassplate.pipeline.errors import GlassplateError, UsageError

FOLDER = Path(__file__).parents[1] / "benchmarks"
COUNT = 42


@pytest.fixture
def damaged(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    return importlib.import_module("damaged")


@pytest.mark.slow
def test_fits(damaged, tmp_path):
    """Of 300, 11 ended in "run with --debug" or never."""
    found = list(damaged.tried("fits", range(COUNT), tmp_path, limit=120))
    assert [one for one in found if one.ended == "fault"] == []
    ends = [one.ended for one in found if one.step == "restore"]
    assert len(ends) == COUNT
    assert ends.count("done") > COUNT / 4, "what can be read is read"
    assert ends.count("refused") > COUNT / 8, "what cannot is refused"


def test_faults_are_seen(damaged):
    def message(work, limit=60.0):
        one = damaged._tried("a", "b", "describe", work, limit)
        return one.ended, one.message

    def for_ever():
        while True:
            pass

    def raises(error):
        raise error

    assert message(lambda: None) == ("done", "")
    assert message(for_ever, 0.05) == ("fault", "not done after 0.05 s")
    assert message(lambda: raises(ValueError("x"))) == ("fault", "ValueError: x")
    for error, ended in (
        (GlassplateError("x"), "fault"),
        (UsageError("x"), "refused"),
        (UsageError("x\ny"), "fault"),
    ):
        assert message(lambda error=error: raises(error))[0] == ended


def test_the_same_seed_makes_the_same_file(damaged):
    fits = importlib.import_module("damaged_fits")
    for seed in range(20):
        assert fits.damaged(seed) == fits.damaged(seed)
    assert len({fits.damaged(seed)[2] for seed in range(20)}) == 20
