"""A result opened as arrays, and as astropy's NDData and CCDData."""

import dask.array
import numpy as np
import pytest
import tifffile
import zarr
from astropy import units
from astropy.io import fits
from astropy.nddata import CCDData, NDData, StdDevUncertainty
from astropy.wcs import WCS
from runs import COPY, FIT, UntidyPool, request

from glassplate.pipeline.errors import StoreError, UsageError
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.result.as_nddata import unit_of
from glassplate.pipeline.result.opened import Result
from glassplate.pipeline.run.restore import restore

WCS_CARDS = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 150.0,
    "CRVAL2": 2.0,
    "CRPIX1": 30.0,
    "CRPIX2": 20.0,
    "CDELT1": -0.5 / 3600,
    "CDELT2": 0.5 / 3600,
}


@pytest.fixture
def sky(tmp_path):
    """A FITS image of 40 x 60 pixels in adu, a corner of which is missing."""
    pixels = np.random.default_rng(0).normal(100, 5, (40, 60)).astype("f4")
    pixels[:4, :5] = np.nan
    header = fits.Header({**WCS_CARDS, "BUNIT": "adu", "FILTER": "r"})
    fits.writeto(tmp_path / "sky.fits", pixels, header)
    return tmp_path / "sky.fits"


@pytest.fixture
def copied(sky, tmp_path):
    """A result of the recipe identity."""
    restore(request(sky, tmp_path / "sky.zarr", COPY), InlinePool())
    return Result(tmp_path / "sky.zarr")


def test_it_says_what_it_is(copied):
    assert copied.shape == (40, 60)
    assert copied.dtype == np.float32
    assert (copied.unit, copied.scale, copied.levels) == ("adu", 1, 2)
    assert (copied.status, copied.recipe) == ("complete", "test")
    assert copied.arrays == ("image", "residual", "footprint")
    assert repr(copied) == f"<Result {copied.path}: 40 x 60 float32 in adu, test, complete>"


def test_arrays_of_zarr_numpy_and_dask_are_the_same_pixels(copied, sky):
    pixels = fits.getdata(sky)
    np.testing.assert_array_equal(copied.numpy(), pixels)
    np.testing.assert_array_equal(copied.zarr()[10:20, 5:9], pixels[10:20, 5:9])
    lazy = copied.dask()
    assert isinstance(lazy, dask.array.Array)
    assert lazy.chunksize == zarr.open_array(copied.path / "0", mode="r").shards
    np.testing.assert_array_equal(lazy[10:20, 5:9].compute(scheduler="sync"), pixels[10:20, 5:9])
    assert copied.numpy(level=1).shape == (20, 30)
    assert np.nanmax(np.abs(copied.numpy("residual"))) == 0


def test_an_array_can_not_be_written(copied):
    with pytest.raises(ValueError, match="read-only"):
        copied.zarr()[0, 0] = 1


@pytest.mark.parametrize(
    ("name", "level", "why"),
    [
        (
            "uncertainty",
            0,
            "it has image, residual, footprint; restore it with fit.uncertainty=true",
        ),
        ("filled", 0, "only recipes that fill pixels"),
        ("other", 0, "has no array 'other'"),
        ("image", 2, "image has levels 0 to 1, and not 2"),
        ("image", -1, "image has levels 0 to 1, and not -1"),
        ("residual", 1, "residual has levels 0 to 0, and not 1"),
    ],
)
def test_what_is_not_there_is_refused(copied, name, level, why):
    with pytest.raises(UsageError, match=why):
        copied.zarr(name, level)


def test_a_missing_array_is_named(copied):
    (copied.path / "0" / "zarr.json").unlink()
    with pytest.raises(StoreError, match="verify"):
        copied.numpy()


@pytest.mark.parametrize("kind", [NDData, CCDData])
def test_astropy_gets_data_mask_unit_wcs_and_header(copied, sky, kind):
    image = copied.ccddata() if kind is CCDData else copied.nddata()
    assert type(image) is kind
    pixels = fits.getdata(sky)
    np.testing.assert_array_equal(image.data, pixels)
    np.testing.assert_array_equal(image.mask, np.isnan(pixels))
    assert image.unit == units.adu
    assert image.uncertainty is None
    assert image.meta["FILTER"] == "r"
    assert image.meta["GPRECIPE"] == "test"
    there = WCS(fits.getheader(sky)).pixel_to_world(7, 9)
    assert image.wcs.pixel_to_world(7, 9).separation(there).arcsec < 1e-6


def test_the_wcs_of_a_level_fits_its_pixels(copied):
    whole, half = copied.ccddata(), copied.ccddata(level=1)
    # the centre of a coarse pixel lies between those of the two that it covers
    there = whole.wcs.pixel_to_world(20.5, 10.5)
    assert half.wcs.pixel_to_world(10, 5).separation(there).arcsec < 1e-6
    assert half.mask[0, 0]
    assert half.data.shape == (20, 30)


def test_ccddata_can_be_written_and_read_again(copied, tmp_path):
    copied.ccddata().write(tmp_path / "ccd.fits")
    again = CCDData.read(tmp_path / "ccd.fits")
    np.testing.assert_array_equal(again.mask, copied.ccddata().mask)


@pytest.mark.slow
def test_the_uncertainty_comes_along(sky, tmp_path):
    recipe = {**FIT, "fit": {**FIT["fit"], "uncertainty": True}}
    restore(request(sky, tmp_path / "a.zarr", recipe), InlinePool())
    result = Result(tmp_path / "a.zarr")
    image = result.ccddata()
    assert isinstance(image.uncertainty, StdDevUncertainty)
    assert image.uncertainty.unit == units.adu
    np.testing.assert_array_equal(image.uncertainty.array, result.numpy("uncertainty"))
    assert result.ccddata(level=1).uncertainty is None


def test_a_photograph_has_its_tags_and_only_alpha_is_not_masked(tmp_path):
    pixels = np.random.default_rng(0).integers(1, 255, (40, 50, 4), "u1")
    pixels[5:9, 5:9, 3] = 0
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=["unassalpha"])
    restore(request(path, tmp_path / "a.zarr", COPY), InlinePool())
    image = Result(tmp_path / "a.zarr").nddata()
    np.testing.assert_array_equal(image.data, np.moveaxis(pixels, 2, 0))
    assert image.unit == units.dimensionless_unscaled
    assert image.wcs is None
    assert image.meta["tiff"]["photometric"] == 2
    assert not image.mask[3].any()
    np.testing.assert_array_equal(image.mask[0], pixels[..., 3] == 0)


def test_the_no_data_value_of_integers_is_masked(tmp_path):
    pixels = np.random.default_rng(0).integers(1, 255, (40, 50), "i2")
    pixels[5:9, 5:9] = -32768
    path, nodata = tmp_path / "a.tif", [(42113, "s", 0, "-32768", True)]
    tifffile.imwrite(path, pixels, extratags=nodata, metadata=None)
    restore(request(path, tmp_path / "a.zarr", COPY), InlinePool())
    image = Result(tmp_path / "a.zarr").nddata()
    np.testing.assert_array_equal(image.mask, pixels == -32768)


def test_a_run_that_has_not_ended_is_refused(sky, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        restore(request(sky, tmp_path / "a.zarr", COPY), UntidyPool(interrupt_after=1))
    with pytest.raises(StoreError, match="status running and has not ended"):
        Result(tmp_path / "a.zarr")
    with pytest.raises(StoreError, match="not a glassplate result"):
        Result(sky)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("adu", "adu"),
        ("MJy/sr", "MJy / sr"),
        ("electron/s", "electron / s"),
        (None, ""),
        (" ", ""),
        ("counts of the night", "counts of the night"),
    ],
)
def test_a_unit_that_astropy_does_not_know_keeps_its_name(text, expected):
    assert unit_of(text).to_string() == expected
