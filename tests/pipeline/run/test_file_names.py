"""Any name that a file system allows is a name of an input."""

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from runs import COPY, request

from glassplate.pipeline.export.export import export
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.provenance.manifest import read_manifest
from glassplate.pipeline.run.restore import restore


@pytest.mark.parametrize("name", [b"a\xff.fits", b"a\nb.fits"])
def test_a_name_of_bytes_that_are_no_text(tmp_path, name):
    """The manifest could not be written: UnicodeEncodeError."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    data = np.random.default_rng(0).normal(100, 5, (50, 70)).astype("f4")
    try:
        with path.open("wb") as file:
            fits.PrimaryHDU(data).writeto(file)
    except OSError:
        pytest.skip("the file system refuses the name")
    asked = request(path, tmp_path / "o.zarr", COPY)
    restore(asked, InlinePool())
    assert read_manifest(tmp_path / "o.zarr").identity.source.path == str(path)
    assert restore(asked, InlinePool()).already_complete
    exported = export(tmp_path / "o.zarr", tmp_path / "o.fits")
    np.testing.assert_array_equal(fits.getdata(exported), data)
