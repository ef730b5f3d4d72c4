"""Masks of SDSS, which are tables of runs of pixels."""

import numpy as np
import pytest
from astropy.io import fits

from glassplate.pipeline.companions.sdss_mask import SdssMask, is_sdss_mask
from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.planning.companions.find_companions import with_companions
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

SHAPE = (30, 40)
ALL = Box(0, 30, 0, 40)
# Runs of pixels (row, first and last column) of some flags, by the number of their bit.
RUNS = {
    0: [[(3, 5, 7), (4, 5, 5)]],
    1: [[(10, 0, 2)]],
    3: [[(0, 0, 39)], [(29, 39, 39)]],
    9: [[(3, 7, 7)]],
}


def write_mask(path, runs=RUNS, shape=SHAPE):
    """A mask as SDSS writes it: one table for each flag, one row of it for each object."""
    primary = fits.PrimaryHDU()
    primary.header.update(MASKROWS=shape[0], MASKCOLS=shape[1], NPLANE=10)
    hdus = [primary]
    for plane in range(10):
        objects = runs.get(plane, [])
        spans = np.array(
            [np.frombuffer(np.array(o, ">i2").tobytes(), "u1") for o in objects], object
        )
        counts = fits.Column("nspan", "J", array=np.array([len(o) for o in objects], "i4"))
        hdus.append(fits.BinTableHDU.from_columns([counts, fits.Column("s", "PB()", array=spans)]))
    fits.HDUList(hdus).writeto(path)
    return path


@pytest.fixture
def frame(tmp_path):
    path = tmp_path / "frame-r-001000-1-0100.fits"
    fits.writeto(path, np.ones(SHAPE, "f4"))
    with fits.open(path, mode="update") as hdus:
        hdus[0].header.update(ORIGIN="SDSS", TELESCOP="2.5m")
    return path


def test_the_runs_become_sums_of_flags(tmp_path):
    mask = SdssMask(write_mask(tmp_path / "fpM.fit"))
    values = mask.read(ALL).values[0]
    expected = np.zeros(SHAPE)
    expected[3, 5:8] += 1
    expected[4, 5] += 1
    expected[10, :3] += 2
    expected[0] += 8
    expected[29, 39] += 8
    expected[3, 7] += 512
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(mask.read(Box(2, 5, 4, 9)).values[0], expected[2:5, 4:9])


def test_that_of_a_frame_is_found_and_its_objects_are_not_bad(frame):
    write_mask(frame.with_name("fpM-001000-r1-0100.fit"))
    spec = with_companions(SourceSpec(frame), load_recipe("draft"))
    assert (spec.mask.name, spec.flags.table) == ("fpM-001000-r1-0100.fit", "SDSS")
    source = open_source(spec)
    pixels = source.read(ALL)
    source.close()
    bad = {tuple(map(int, place)) for place in np.argwhere(~pixels.valid[0])}
    assert bad == {(3, 5), (3, 6), (3, 7), (4, 5), (10, 0), (10, 1), (10, 2)}
    assert [tuple(map(int, place)) for place in np.argwhere(pixels.saturated[0])] == [
        (10, 0), (10, 1), (10, 2),
    ]  # fmt: skip
    given = SourceSpec(frame, mask=frame.with_name("fpM-001000-r1-0100.fit"))
    assert with_companions(given, load_recipe("identity")).flags == spec.flags


def test_that_of_another_size_is_not_the_mask_of_a_cut(frame):
    write_mask(frame.with_name("fpM-001000-r1-0100.fit"), shape=(60, 80))
    assert with_companions(SourceSpec(frame), load_recipe("draft")).mask is None


def test_damage_is_named(tmp_path):
    outside = write_mask(tmp_path / "fpM.fit", {0: [[(30, 0, 1)]]})
    assert is_sdss_mask(outside)
    with pytest.raises(SourceError, match=r"fpM\.fit"):
        SdssMask(outside)
    huge = write_mask(tmp_path / "huge.fit", {}, (100_000, 100_000))
    with pytest.raises(SourceError, match="100000 x 100000 pixels, must be between"):
        SdssMask(huge)
    fits.writeto(tmp_path / "sky.fits", np.ones(SHAPE, "f4"))
    assert not is_sdss_mask(tmp_path / "sky.fits")
    assert not is_sdss_mask(tmp_path / "missing.fits[DQ]")


def test_a_real_one_has_the_pixels_that_it_counts(real_data):
    path = real_data / "astro" / "mef_dq_weight" / "fpM-001000-r1-0100.fit"
    values = SdssMask(path).read(Box(0, 1489, 0, 2048)).values[0].astype(int)
    with fits.open(path) as hdus:
        for plane in (1, 3, 4, 9):  # whose objects do not overlap
            assert ((values >> plane) & 1).sum() == hdus[plane + 1].data["npix"].sum()
