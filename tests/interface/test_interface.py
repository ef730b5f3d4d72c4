"""What `import glassplate` gives, and that it takes no time."""

import importlib.metadata
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from runs import COPY, request

import glassplate
from glassplate.pipeline.errors import StoreError
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.run.restore import restore


def test_a_result_is_opened(tmp_path):
    pixels = np.arange(40 * 50, dtype="f4").reshape(40, 50)
    fits.writeto(tmp_path / "a.fits", pixels)
    restore(request(tmp_path / "a.fits", tmp_path / "a.zarr", COPY), InlinePool())
    for path in (tmp_path / "a.zarr", str(tmp_path / "a.zarr")):
        np.testing.assert_array_equal(glassplate.open(path).numpy(), pixels)
    with pytest.raises(StoreError, match="not a glassplate result"):
        glassplate.open(tmp_path)


def test_the_import_loads_nothing_that_takes_long():
    heavy = "torch", "astropy", "zarr", "dask", "numpy", "prefect"
    code = f"import sys, glassplate; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_version_is_that_of_the_distribution():
    assert glassplate.__version__ == importlib.metadata.version("glassplate")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        glassplate.nothing  # noqa: B018
