"""One call restores what a Python program holds, and gives back the same kind."""

import pickle

import numpy as np
import pytest
import tifffile
from astropy import units
from astropy.io import fits
from astropy.nddata import (
    CCDData,
    InverseVariance,
    NDData,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)
from astropy.wcs import WCS
from skimage import data

import glassplate
from glassplate.given_image import RestoredArray, _as_dataarray, taken
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.result.opened import Result

SKY = np.random.default_rng(0).normal(100, 5, (40, 50)).astype("f4")
PICTURE = np.random.default_rng(0).integers(10, 240, (40, 50, 3), "u1")
BAD = np.zeros(SKY.shape, bool)
BAD[3:6, 7:9] = True


def copied(image, **more):
    """A restoration that copies."""
    return glassplate.restore(image, "identity", progress=False, **more)


@pytest.fixture(scope="module")
def fitted():
    """A restoration by a short fit, with its uncertainty."""
    changes = ["fit.iterations=4", "stopping.minimum=2", "fit.uncertainty=true"]
    return glassplate.restore(SKY, "draft", changes, progress=False)


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (SKY, "f4"),
        (SKY.astype(">f4"), "f4"),
        (SKY.astype("f2"), "f4"),
        (np.stack([SKY] * 5), "f4"),
        (PICTURE, "u1"),
        (PICTURE[..., 0].astype("u2") * 200, "u2"),
        (np.moveaxis(PICTURE, 2, 0), "u1"),
        (np.dstack([PICTURE, np.full(SKY.shape, 255, "u1")]), "u1"),
        # float32 would not hold every whole number of 32 bits
        (SKY.astype("i4"), "f8"),
        (SKY.astype("f8"), "f8"),
    ],
)
def test_an_array_comes_back_as_an_array(array, dtype):
    restored = copied(array)
    assert type(restored) is RestoredArray
    assert restored.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(restored, array)
    assert restored.residual.shape == array.shape
    assert not restored.residual.any()
    assert restored.uncertainty is None


def test_what_was_removed_and_how_certain_it_is(fitted):
    assert fitted.residual.std() > 1
    np.testing.assert_allclose(np.asarray(fitted) + fitted.residual, SKY, rtol=1e-5)
    assert fitted.uncertainty.shape == SKY.shape
    assert fitted.uncertainty.min() > 0
    assert "restored, 1 tile" in fitted.report()
    assert ".zarr" not in fitted.report(), "it is gone"


def test_a_part_or_a_sum_does_not_pretend_to_have_a_residual(fitted):
    assert fitted[:10].residual is None
    assert (fitted + 1).uncertainty is None
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)), fitted)


def test_what_is_masked_is_masked_again():
    spoiled = np.where(BAD, 1e6, SKY).astype("f4")
    restored = copied(np.ma.MaskedArray(spoiled, BAD))
    assert isinstance(restored, np.ma.MaskedArray)
    np.testing.assert_array_equal(restored.mask, BAD)
    np.testing.assert_array_equal(restored.data[~BAD], SKY[~BAD])
    assert restored.residual.shape == SKY.shape
    plain = copied(spoiled, mask=BAD)
    np.testing.assert_array_equal(np.isnan(plain), BAD)
    both = copied(np.ma.MaskedArray(spoiled, BAD), mask=np.roll(BAD, 9))
    np.testing.assert_array_equal(both.mask, BAD | np.roll(BAD, 9))


@pytest.mark.parametrize("kind", [NDData, CCDData])
@pytest.mark.parametrize("uncertainty", [None, StdDevUncertainty(SKY * 0 + 5)])
def test_nddata_keeps_what_belongs_to_it(kind, uncertainty):
    wcs = WCS({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -1e-4, "CDELT2": 1e-4})
    image = kind(SKY, mask=BAD, unit="electron / s", wcs=wcs, meta={"FILTER": "r"})
    image.uncertainty = uncertainty
    restored = copied(image)
    assert type(restored) is kind
    np.testing.assert_array_equal(restored.data[~BAD], SKY[~BAD])
    np.testing.assert_array_equal(restored.mask, BAD)
    assert restored.unit == units.electron / units.s
    assert restored.meta["FILTER"] == "r"
    assert restored.wcs.pixel_to_world(3, 4).separation(wcs.pixel_to_world(3, 4)).arcsec == 0
    assert restored.uncertainty is None
    assert not restored.residual[~BAD].any()
    assert "restored" in restored.report()


def test_colours_of_nddata_keep_their_axes():
    colours = np.dstack([SKY] * 3)
    image = NDData(colours, uncertainty=StdDevUncertainty(colours * 0 + 5), mask=False)
    changes = ["fit.iterations=2", "stopping.minimum=1", "fit.uncertainty=true"]
    restored = glassplate.restore(image, "draft", changes, progress=False)
    assert restored.data.shape == restored.uncertainty.array.shape == (40, 50, 3)
    assert restored.residual.shape == restored.mask.shape == (40, 50, 3)


def test_a_dataarray_of_xarray_keeps_its_coordinates():
    xarray = pytest.importorskip("xarray")
    sky = SKY.copy()
    sky[BAD] = np.nan
    coords = {"y": np.arange(40) / 2, "x": np.arange(50) * 3.0, "time": 7}
    image = xarray.DataArray(sky, coords, ("y", "x"), name="sky", attrs={"units": "adu", "of": "M"})
    restored = copied(image)
    assert type(restored) is xarray.DataArray
    np.testing.assert_array_equal(restored.values, sky)
    assert (restored.dims, restored.name) == (("y", "x"), "sky")
    assert all((restored.coords[name] == image.coords[name]).all() for name in coords)
    assert (restored.attrs["units"], restored.attrs["of"]) == ("adu", "M")
    assert not restored.coords["residual"].values[~BAD].any()
    assert "restored" in restored.attrs["report"]


def test_an_axis_that_is_enlarged_loses_its_coordinates():
    xarray = pytest.importorskip("xarray")
    image = xarray.DataArray(SKY[:4, :5], {"y": range(4), "time": 7}, ("y", "x"))
    larger = _as_dataarray(image, np.zeros((8, 10)), {"residual": SKY[:4, :5]}, "")
    assert (larger.sizes["y"], list(larger.coords)) == (8, ["time"])


@pytest.mark.slow
def test_an_enlarged_image_has_the_wcs_of_its_pixels():
    wcs = WCS({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -1e-4, "CDELT2": 1e-4})
    image = CCDData(SKY, unit="adu", wcs=wcs)
    changes = ["fit.iterations=2", "stopping.minimum=1", "operator.scale=2"]
    restored = glassplate.restore(image, "archive-upscale", changes, progress=False)
    assert restored.data.shape == (80, 100)
    there = wcs.pixel_to_world(10.25, 5.25)
    assert restored.wcs.pixel_to_world(21, 11).separation(there).arcsec < 1e-6


@pytest.mark.parametrize(
    ("uncertainty", "kind"),
    [
        (StdDevUncertainty, "sigma"),
        (VarianceUncertainty, "variance"),
        (InverseVariance, "weight"),
    ],
)
def test_an_uncertainty_says_how_noisy_the_pixels_are(tmp_path, uncertainty, kind):
    given = taken(NDData(SKY, uncertainty=uncertainty(SKY * 0 + 4)), None)
    spec = given.write(tmp_path)
    assert spec.noise_kind == kind
    assert (fits.getdata(spec.variance) == 4).all()


@pytest.mark.parametrize(
    ("image", "more", "why"),
    [
        (np.zeros(5), {}, r"of shape \(5,\) is no image"),
        (np.zeros((2, 2), complex), {}, "complex128"),
        ("text.fits", {}, "output is missing"),
        ("text.fits", {"mask": BAD}, "mask is for arrays"),
        (SKY, {"mask": BAD[:3]}, r"the mask has shape \(3, 50\), the image \(40, 50\)"),
        (SKY, {"settings": "fit.iterations=3"}, r"give a list, such as \['fit.iterations=3'\]"),
        (NDData(SKY, uncertainty=UnknownUncertainty(SKY)), {}, "does not say how noisy"),
    ],
)
def test_what_is_no_image_is_refused(image, more, why):
    with pytest.raises(UsageError, match=why):
        copied(image, **more)


def test_a_file_gives_a_result(tmp_path):
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(SKY, name="SCI"), fits.ImageHDU(SKY + 1, name="OTHER")]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    restored = copied(f"{tmp_path}/a.fits[OTHER]", output=tmp_path / "a.zarr")
    assert isinstance(restored, Result)
    np.testing.assert_array_equal(restored.numpy(), SKY + 1)
    tifffile.imwrite(tmp_path / "a.tif", np.stack([SKY, SKY + 2]), photometric="minisblack")
    restored = copied(f"{tmp_path}/a.tif[1]", output=tmp_path / "b.zarr")
    np.testing.assert_array_equal(restored.numpy(), SKY + 2)


def test_the_result_of_an_array_is_kept_where_it_is_asked_for(tmp_path):
    for _ in range(2):  # the second call finds it
        copied(SKY, output=tmp_path / "kept.zarr")
    np.testing.assert_array_equal(glassplate.open(tmp_path / "kept.zarr").numpy(), SKY)


def test_progress_is_shown_on_standard_error_or_not_at_all(capsys):
    copied(SKY)
    assert capsys.readouterr() == ("", "")
    glassplate.restore(SKY, "identity")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "array.fits: complete" in shown.err


@pytest.mark.slow
def test_a_noisy_channel_is_restored_and_a_quiet_one_is_kept():
    # with one variance for all channels, blue kept two thirds of its noise, and red and green lost detail
    clean = data.astronaut()[60:156, 180:276].astype("f4")
    sigmas = np.array([5, 5, 25])
    noisy = clean + sigmas * np.random.default_rng(0).standard_normal(clean.shape)
    restored = glassplate.restore(
        noisy.astype("f4"), "archive-denoise", ["fit.iterations=150"], progress=False
    )
    left = np.sqrt(((restored - clean) ** 2).mean((0, 1))) / sigmas
    assert (left < (0.9, 0.9, 0.4)).all(), left
