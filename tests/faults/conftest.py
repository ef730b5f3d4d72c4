"""What tests of faults share: a small image and its undisturbed result."""

from __future__ import annotations

import pytest
from faulty_work import FIT
from runs import digest, request
from skies import write_sky

from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.run.restore import restore


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """Twelve tiles."""
    return write_sky(tmp_path_factory.mktemp("faults") / "sky.fits", shape=(90, 120))


@pytest.fixture(scope="module")
def undisturbed(image):
    """Digest of the result that no fault disturbed."""
    store = image.with_name("whole.zarr")
    restore(request(image, store, FIT), InlinePool())
    return digest(store)
