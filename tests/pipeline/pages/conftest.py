"""Results of short fits, and their pages."""

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from runs import FIT, request
from shown_pages import Page

from glassplate.pipeline.pages.result_page import write_result_page
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.run.restore import restore


@pytest.fixture(scope="session")
def sky_result(tmp_path_factory):
    """A sky with a hole and a bright lowest corner, its result, and its page."""
    folder = tmp_path_factory.mktemp("sky")
    image = np.random.default_rng(0).normal(100, 5, (50, 70))
    image[:6, :6] = 1000
    image[30:34, 40:45] = np.nan
    header = fits.Header({"BUNIT": "adu"})
    fits.writeto(folder / "sky.fits", image.astype("f4"), header)
    restore(request(folder / "sky.fits", folder / "sky.zarr", FIT), InlinePool())
    return folder / "sky.zarr"


@pytest.fixture(scope="session")
def photo_result(tmp_path_factory):
    """A photograph in colours, and its result."""
    folder = tmp_path_factory.mktemp("photo")
    image = np.random.default_rng(1).integers(40, 200, (50, 70, 3)).astype("u1")
    tifffile.imwrite(folder / "photo.tif", image, photometric="rgb")
    restore(request(folder / "photo.tif", folder / "photo.zarr", FIT), InlinePool())
    return folder / "photo.zarr"


@pytest.fixture(scope="session")
def enlarged_result(tmp_path_factory):
    """An enlarged sky, and its result."""
    folder = tmp_path_factory.mktemp("enlarged")
    image = np.random.default_rng(0).normal(100, 5, (40, 50))
    fits.writeto(folder / "small.fits", image.astype("f4"))
    recipe = {**FIT, "task": "superres", "operator": {"scale": 2}}
    restore(request(folder / "small.fits", folder / "large.zarr", recipe), InlinePool())
    return folder / "large.zarr"


@pytest.fixture
def page_of(tmp_path):
    """Write the page of a result, and take it apart."""

    def made(store, **more):
        return Page(write_result_page(store, tmp_path / "page.html", **more))

    return made
