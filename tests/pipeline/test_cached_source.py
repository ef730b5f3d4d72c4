"""Each worker thread keeps its own sources open, and opens them anew when a file has changed."""

import pickle
import threading

import numpy as np
import pytest
from astropy.io import fits

from glassplate.pipeline.cached_source import cached_source, close_cached_sources
from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

ALL = Box(0, 20, 0, 30)


@pytest.fixture
def sky(tmp_path):
    fits.writeto(tmp_path / "sky.fits", np.arange(600, dtype="f4").reshape(20, 30))
    return tmp_path / "sky.fits"


@pytest.fixture(autouse=True)
def closed():
    close_cached_sources()
    yield
    close_cached_sources()


def test_opened_once_until_the_file_changes(sky):
    spec = SourceSpec(sky)
    first = cached_source(spec)
    assert cached_source(pickle.loads(pickle.dumps(spec))) is first
    fits.writeto(sky, np.zeros((20, 30), "f4"), overwrite=True)
    second = cached_source(spec)
    assert second is not first
    assert (second.read(ALL).values == 0).all()


def test_a_changed_mask_counts(sky, tmp_path):
    mask = tmp_path / "mask.fits"
    fits.writeto(mask, np.zeros((20, 30), "u1"))
    spec = SourceSpec(sky, mask=mask)
    assert cached_source(spec).read(ALL).valid.all()
    fits.writeto(mask, np.ones((20, 30), "u1"), overwrite=True)
    assert not cached_source(spec).read(ALL).valid.any()


def test_each_thread_has_its_own(sky):
    found = []

    def work():
        found.append(cached_source(SourceSpec(sky)))
        close_cached_sources()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found[0] is not cached_source(SourceSpec(sky))


def test_the_end_of_a_thread_closes_them(sky):
    kept = []
    thread = threading.Thread(target=lambda: kept.append(cached_source(SourceSpec(sky))))
    thread.start()
    thread.join()
    with pytest.raises(OSError, match="Bad file descriptor"):
        kept[0].read(ALL)


def test_only_few_stay_open(tmp_path):
    specs = []
    for n in range(4):
        fits.writeto(tmp_path / f"{n}.fits", np.full((20, 30), n, "f4"))
        specs.append(SourceSpec(tmp_path / f"{n}.fits"))
    first = cached_source(specs[0])
    for spec in specs[1:]:
        cached_source(spec)
    assert cached_source(specs[0]) is not first


def test_a_missing_file_is_a_source_error(tmp_path):
    with pytest.raises(SourceError, match="no such file"):
        cached_source(SourceSpec(tmp_path / "no.fits"))
