"""How a run ends, where its last stage cannot be done."""

import errno
import os

import numpy as np
import pytest
from astropy.io import fits
from runs import COPY, request

from glassplate.pipeline.errors import DiskFullError, GlassplateError, PassingError
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.run import session
from glassplate.pipeline.run.restore import restore


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (MemoryError("too little"), PassingError),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), DiskFullError),
        (ValueError("no such thing"), GlassplateError),
    ],
)
def test_a_failed_measurement_of_the_noise_says_whether_it_may_pass(
    fault, expected, tmp_path, monkeypatch
):
    """A job took an image whose last worker died for one that is bad, and never tried it again."""

    def fail(*_):
        raise fault

    fits.writeto(tmp_path / "a.fits", np.random.default_rng(0).normal(9, 1, (40, 50)).astype("f4"))
    asked = request(tmp_path / "a.fits", tmp_path / "a.zarr", COPY)
    monkeypatch.setattr(session, "measure_noise", fail)
    with pytest.raises(GlassplateError, match="measuring its noise failed") as caught:
        restore(asked, InlinePool())
    assert type(caught.value) is expected
    monkeypatch.undo()
    assert restore(asked, InlinePool()).status == "complete"
