"""No card and no HDU of a FITS file is lost in its export: what is dropped has a reason in HISTORY."""

import importlib
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.describe import describe

ROOT = Path(__file__).resolve().parents[4]
DATA = ROOT.parent / "shared" / "data"
FILES = [path for path in sorted(DATA.rglob("*.fit*")) if path.is_file()]


@pytest.fixture
def round_trips(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    return importlib.import_module("fits_round_trips")


def check(round_trips, path, hdu, target):
    """Count the fates of an export at the input's size and of one enlarged."""
    found = Counter()
    for scale in (1, 2):
        round_trips.exported(path, hdu, scale, target)
        fates = list(round_trips.fates(path, target, [hdu]))
        assert [one for one in fates if one.fate == "lost"] == []
        found.update(one.fate for one in fates)
    return found


def test_cards_of_every_kind(round_trips, sky, tmp_path):
    found = check(round_trips, sky, 0, tmp_path / "out.fits")
    assert set(found) == {"kept", "adapted", "dropped"}
    assert found["kept"] > 2 * found["adapted"]


def test_a_lost_card_and_a_lost_hdu_are_found(round_trips, tmp_path):
    """The check itself would miss nothing."""
    image = fits.PrimaryHDU(np.ones((4, 5), "f4"), fits.Header({"OBSERVER": "Caroline Herschel"}))
    path, target = tmp_path / "in.fits", tmp_path / "out.fits"
    fits.HDUList([image, fits.ImageHDU(np.ones(3, "i2"))]).writeto(path)
    round_trips.exported(path, 0, 1, target)
    with fits.open(target) as hdus:
        del hdus[0].header["OBSERVER"]
        hdus[1].data = hdus[1].data + 1
        hdus.writeto(tmp_path / "lost.fits")
    fates = round_trips.fates(path, tmp_path / "lost.fits", [0])
    lost = [(one.hdu, one.keyword) for one in fates if one.fate == "lost"]
    assert lost == [(0, "OBSERVER"), (1, "")]


@pytest.mark.slow
@pytest.mark.skipif(not FILES, reason="no collection of real files beside this checkout")
def test_real_files(round_trips, tmp_path, monkeypatch):
    """Every third file; the benchmark takes all."""
    monkeypatch.setenv("GLASSPLATE_SCRATCH", str(tmp_path / "scratch"))
    checked = 0
    for path in FILES[::3]:
        with collected_warnings(path):
            try:
                facts = describe(path)
            except Exception:
                continue
            images = [image for image in facts["images"] if image["restorable"]]
            for image in images[:1]:
                check(round_trips, path, image["index"], tmp_path / "out.fits")
                checked += 1
    assert checked > 40
