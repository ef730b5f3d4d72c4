"""The result has the uncertainty of each pixel if the recipe asks for it."""

import numpy as np
import pytest
import zarr
from astropy.io import fits
from runs import FIT, UntidyPool, digest, level0, request

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.provenance.verify import verify
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.run.restore import restore

STATED = {**FIT, "fit": {**FIT["fit"], "uncertainty": True}}


@pytest.fixture
def sky(tmp_path):
    """A FITS of 50 x 70 pixels with noise of 5 and a few NaN."""
    image = np.random.default_rng(0).normal(100, 5, (50, 70))
    image[4:6, 7:10] = np.nan
    fits.writeto(tmp_path / "sky.fits", image.astype("f4"))
    return tmp_path / "sky.fits"


def stated(store):
    return zarr.open_group(str(store), mode="r")["uncertainty"][...]


@pytest.mark.slow
def test_every_restored_pixel_has_an_uncertainty_and_the_image_is_the_same(sky, tmp_path):
    restore(request(sky, tmp_path / "a.zarr", STATED), InlinePool())
    restore(request(sky, tmp_path / "b.zarr", FIT), InlinePool())
    np.testing.assert_array_equal(level0(tmp_path / "a.zarr"), level0(tmp_path / "b.zarr"))
    sigma, valid = stated(tmp_path / "a.zarr"), np.isfinite(fits.getdata(sky))
    np.testing.assert_array_equal(np.isfinite(sigma), valid)
    assert 0.5 < np.median(sigma[valid]) < 10
    assert "uncertainty" not in zarr.open_group(str(tmp_path / "b.zarr"), mode="r")
    assert all(check.ok for check in verify(tmp_path / "a.zarr"))


@pytest.mark.slow
def test_a_repair_has_the_uncertainty_of_the_filled_pixels(sky, tmp_path):
    raw = {**STATED, "task": "inpaint", "donor": {"tiles": 0}}
    restore(request(sky, tmp_path / "a.zarr", raw), InlinePool())
    filled = ~np.isfinite(fits.getdata(sky))
    np.testing.assert_array_equal(np.isfinite(stated(tmp_path / "a.zarr")), filled)


@pytest.mark.slow
def test_order_and_interruptions_do_not_matter(sky, tmp_path):
    restore(request(sky, tmp_path / "a.zarr", STATED), InlinePool())
    with pytest.raises(KeyboardInterrupt):
        restore(request(sky, tmp_path / "b.zarr", STATED), UntidyPool(3, interrupt_after=4))
    restore(request(sky, tmp_path / "b.zarr", STATED), UntidyPool(4))
    assert digest(tmp_path / "a.zarr") == digest(tmp_path / "b.zarr")


@pytest.mark.slow
def test_an_enlarged_image_has_the_uncertainty_of_its_ensemble(sky, tmp_path):
    raw = {
        **STATED,
        "task": "superres",
        "operator": {"scale": 2},
        "fit": {**STATED["fit"], "members": 2, "posterior": False},
    }
    restore(request(sky, tmp_path / "a.zarr", raw), InlinePool())
    sigma = stated(tmp_path / "a.zarr")
    assert sigma.shape == (100, 140)
    valid = np.isfinite(fits.getdata(sky)).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(np.isfinite(sigma), valid)
    assert np.median(sigma[valid]) > 0


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"fit": {"members": 0}}, "fit: members is 0, must be at least 1"),
        (
            {"task": "superres", "operator": {"scale": 2}, "fit": {"uncertainty": True}},
            "fit.uncertainty needs 2 fit.members or more for superres with input auto, not 1",
        ),
        ({"fit": {"uncertainty": True, "input": "noise"}}, "or more for denoise with input noise"),
    ],
)
def test_an_uncertainty_that_cannot_be_computed_is_refused(raw, message):
    with pytest.raises(UsageError, match=message):
        parse_recipe(raw, "t")
