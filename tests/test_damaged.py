"""Damaged files end in a result or in one line, soon; `benchmarks/damaged.py` tries many more of them."""

import importlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from PIL import Image

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
    compared = [one.compared for one in found if one.compared]
    assert compared.count("equal") > COUNT / 4, "astropy reads the same pixels"
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


@pytest.mark.slow
def test_what_takes_too_much_memory_or_has_other_pixels_is_a_fault(damaged, monkeypatch):
    oracle = importlib.import_module("oracle")
    other = oracle.Comparison("differs", "1 of 9 pixels")
    one = damaged._tried("a", "b", "restore", lambda: other, 60.0)
    assert (one.ended, one.message, one.compared) == ("fault", "1 of 9 pixels", "differs")
    monkeypatch.setattr(damaged, "MOST_BYTES", 20 << 20)
    one = damaged._tried("a", "b", "plan", lambda: print(np.ones(5 << 20).sum()), 60.0)
    assert one.ended == "fault"
    assert re.match(r"takes \d+ MiB", one.message)


@pytest.mark.parametrize(
    ("ours", "theirs", "told"),
    [
        (np.array([[1, 2]], "u1"), np.array([[1, 2]], "u1"), ""),
        (
            np.array([[1, 2]], "u1"),
            np.array([[1, 3]], "u1"),
            "1 of 2 pixels, the first at (0, 1): 2",
        ),
        (np.array([[0.1, np.nan]], "f4"), np.array([[0.1, np.inf]]), ""),
        (np.array([[0.1, np.nan]], "f4"), np.array([[0.1, 7.0]]), "(0, 1): nan, not 7"),
        (np.array([[0.1]], "f4"), np.array([[0.100001]]), "1 of 1 pixels"),
        (np.zeros((2, 3)), np.zeros((2, 4)), "shape (2, 3), not (2, 4)"),
    ],
)
def test_two_images_are_compared(damaged, ours, theirs, told):
    difference = importlib.import_module("oracle").difference(ours, theirs)
    assert told in difference
    assert bool(told) == bool(difference)


@pytest.mark.slow
def test_real_files_are_restored_or_refused_and_why(damaged, tmp_path, monkeypatch):
    """The benchmark over a collection, with one file of each outcome."""
    real_files = importlib.import_module("real_files")
    folder, output = tmp_path / "files", tmp_path / "out.json"
    folder.mkdir()
    rng = np.random.default_rng(0)
    nodata = [(42113, "s", 0, "-9999", True)]
    fits.writeto(folder / "a.fits", rng.normal(100, 5, (20, 30)).astype("f4"))
    gaps = np.where(rng.random((20, 30)) < 0.1, -9999, rng.random((20, 30))).astype("f4")
    tifffile.imwrite(folder / "b.tif", gaps, extratags=nodata, metadata=None)
    Image.new("L", (30, 20)).save(folder / "c.bmp")
    fits.BinTableHDU.from_columns([fits.Column("x", "E", array=[1.0])]).writeto(folder / "d.fits")
    (folder / "e.txt").write_text("left out")
    monkeypatch.setattr(sys, "argv", ["real_files.py", str(folder), "-o", str(output)])
    assert real_files.main() == 0
    found = json.loads(output.read_text())
    assert found["folders"] == {"files": {"equal": 1, "adapted": 1, "refused": 1, "no image": 2}}
    assert [one["oracle"] for one in found["refused"]] == ["reads"]
    assert [one["file"] for one in found["images_not_equal"]] == ["files/b.tif", "files/c.bmp"]
