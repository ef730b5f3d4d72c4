"""An image and its companions are opened once before the tiles, and closed in any case."""

from collections import Counter

import numpy as np
import pytest
from astropy.io import fits
from runs import FIT, UntidyPool, request

from glassplate.pipeline import open_source as opening
from glassplate.pipeline.companions import psf as companion_psf
from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.open_source import open_files, open_source
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.sources import open_image
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

ALL = Box(0, 40, 0, 50)
ROLES = ("mask", "variance", "guide", "psf", "exposures")


@pytest.fixture
def spec(tmp_path):
    rng = np.random.default_rng(0)
    sky = rng.normal(100, 5, (40, 50)).astype("f4")
    psf = np.zeros((5, 5), "f4")
    psf[2, 2] = 1
    files = {
        "sky": sky,
        "mask": np.zeros((40, 50), "u1"),
        "variance": np.full((40, 50), 25, "f4"),
        "guide": sky,
        "psf": psf,
        "exposures": sky + rng.normal(0, 5, sky.shape).astype("f4"),
    }
    for name, image in files.items():
        fits.writeto(tmp_path / f"{name}.fits", image)
    named = {role: tmp_path / f"{role}.fits" for role in ROLES}
    return SourceSpec(
        tmp_path / "sky.fits", **{**named, "exposures": (tmp_path / "exposures.fits",)}
    )


@pytest.fixture
def opened(monkeypatch):
    """How many times each file has been opened."""
    counts, original = Counter(), open_image.find_reader

    class Counted:
        def __init__(self, path):
            self.reader = original(path)

        def open(self, spec, path):
            counts[path.stem] += 1
            return self.reader.open(spec, path)

    monkeypatch.setattr(open_image, "find_reader", Counted)
    return counts


def test_each_file_is_opened_once_before_the_tiles(spec, opened, tmp_path):
    raw = {**FIT, "task": "deconvolve"}
    with pytest.raises(KeyboardInterrupt):
        restore(request(spec, tmp_path / "a.zarr", raw), UntidyPool(interrupt_after=0))
    assert (tmp_path / "a.zarr").is_dir()
    assert opened == Counter(["sky", *ROLES])


def test_a_source_opens_no_psf_and_no_exposure_that_it_does_not_combine(spec, opened):
    open_source(spec).close()
    assert opened == Counter(["sky", "mask", "variance", "guide"])


def test_one_set_of_files_is_read_in_several_ways(spec):
    with open_files(spec) as files:
        alone, whole = files.source(without=("mask", "variance", "guide")), files.source()
        np.testing.assert_array_equal(alone.read(ALL).values, whole.read(ALL).values)
        assert alone.read(ALL).variance is None
        assert whole.read(ALL).variance[0, 0, 0] == 25
        assert [one.shape for one in files.exposures()] == [(1, 40, 50)]
        assert files.psf.psf.shape == (5, 5)


@pytest.mark.parametrize("role", ROLES)
def test_all_are_closed_where_one_does_not_fit(spec, tmp_path, monkeypatch, role):
    name = f"{role}.fits"
    fits.writeto(tmp_path / name, np.zeros((7, 8), "f4"), overwrite=True)
    kept = []

    def keeping(function):
        def keep(*args, **more):
            kept.append(function(*args, **more))
            return kept[-1]

        return keep

    for module in (opening, companion_psf):
        monkeypatch.setattr(module, "open_named", keeping(module.open_named))
    monkeypatch.setattr(opening, "open_image", keeping(opening.open_image))
    with pytest.raises(Exception, match=rf"{name}: ") as caught:
        open_files(spec)
    assert caught.value.__class__.__name__ in ("SourceError", "UsageError")
    assert len(kept) > 1
    for source in kept:
        with pytest.raises(OSError, match="Bad file descriptor"):
            source.read(Box(0, 1, 0, 1))


def test_a_file_that_changes_is_noticed(spec, tmp_path):
    with open_files(spec) as files:
        files.check_unchanged()
        fits.writeto(tmp_path / "mask.fits", np.ones((40, 50), "i2"), overwrite=True)
        with pytest.raises(SourceError, match=r"mask\.fits: has changed while it was being looked"):
            files.check_unchanged()
