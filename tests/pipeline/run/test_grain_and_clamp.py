"""The recipe may mix a share of the noise back, and bound the change of each pixel."""

import numpy as np
import pytest
import zarr
from astropy.io import fits
from runs import FIT, level0, request

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.run.restore import restore

SIGMA = 5.0


@pytest.fixture
def sky(tmp_path):
    """A FITS of 40 x 50 pixels with noise of 5 and a few NaN."""
    image = np.random.default_rng(0).normal(100, SIGMA, (40, 50))
    image[4:6, 7:10] = np.nan
    fits.writeto(tmp_path / "sky.fits", image.astype("f4"))
    return tmp_path / "sky.fits"


def restored(sky, store, **output):
    raw = {**FIT, "noise": {"sigma": SIGMA}, "output": {**FIT["output"], **output}}
    restore(request(sky, store, raw), InlinePool())
    return level0(store)


@pytest.mark.slow
def test_grain_is_a_share_of_what_was_removed(sky, tmp_path):
    y = fits.getdata(sky)
    plain = restored(sky, tmp_path / "a.zarr")
    grainy = restored(sky, tmp_path / "b.zarr", grain=0.3)
    np.testing.assert_allclose(grainy, 0.7 * plain + 0.3 * y, rtol=1e-5)
    residual = zarr.open_group(str(tmp_path / "b.zarr"), mode="r")["residual"][...]
    np.testing.assert_allclose(grainy + residual, y, rtol=1e-6)
    np.testing.assert_array_equal(restored(sky, tmp_path / "c.zarr", grain=1.0), y)


@pytest.mark.slow
def test_no_pixel_changes_by_more_than_the_clamp(sky, tmp_path):
    y = fits.getdata(sky)
    plain = restored(sky, tmp_path / "a.zarr")
    held = restored(sky, tmp_path / "b.zarr", clamp=0.5)
    far = np.abs(plain - y) > 0.5 * SIGMA
    assert np.nansum(far) > 0
    np.testing.assert_allclose(np.abs(held - y)[far], 0.5 * SIGMA, rtol=1e-4)
    np.testing.assert_array_equal(held[~far], plain[~far])


@pytest.mark.slow
def test_filled_pixels_get_no_grain_and_no_clamp(sky, tmp_path):
    hole = ~np.isfinite(fits.getdata(sky))
    plain = restored(sky, tmp_path / "a.zarr", invalid="fill")
    held = restored(sky, tmp_path / "b.zarr", invalid="fill", clamp=0.1, grain=0.5)
    np.testing.assert_array_equal(held[hole], plain[hole])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"output": {"grain": 1.2}}, "output.grain is 1.2"),
        ({"output": {"clamp": 0}}, "output.clamp is 0"),
        (
            {"task": "inpaint", "output": {"grain": 0.2}},
            "grain 0.2 is for task denoise, not inpaint",
        ),
        (
            {"task": "superres", "operator": {"scale": 2}, "output": {"clamp": 3}},
            "clamp 3.* is for task denoise, not superres; drop it",
        ),
    ],
)
def test_impossible_settings_are_refused(raw, message):
    with pytest.raises(UsageError, match=message):
        parse_recipe(raw, "t")
