"""One small result with all its records."""

import numpy as np
import pytest
from astropy.io import fits

from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import SourceSpec

RECIPE = {
    "fit": {"iterations": 2, "log_period": 1},
    "network": {"channels": 4, "skip_channels": 4, "scales": 2},
    "tiles": {"core": 24, "halo": 4},
}


@pytest.fixture(scope="session")
def recipe():
    return parse_recipe(RECIPE, "test")


@pytest.fixture(scope="session")
def make_request(recipe):
    """Requests to restore a small image into the same folder."""

    def make(folder):
        image = np.random.default_rng(0).normal(100, 5, (40, 30)).astype("f4")
        fits.writeto(folder / "sky.fits", image)
        return RestoreRequest(
            SourceSpec(folder / "sky.fits"),
            folder / "sky.zarr",
            recipe,
            "test",
            device="cpu",
            context={"flow_run": "abc"},
        )

    return make


@pytest.fixture(scope="session")
def store(tmp_path_factory, make_request):
    """The result of one run. Do not change it."""
    request = make_request(tmp_path_factory.mktemp("provenance"))
    restore(request, InlinePool())
    return request.store
