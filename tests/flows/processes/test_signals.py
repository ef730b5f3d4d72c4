"""A request to stop is never lost, and never taken for a failure."""

import signal

import numpy as np
import pytest
from astropy.io import fits

from glassplate.flows.cli import restore as commands_run
from glassplate.flows.processes import signals
from glassplate.pipeline.errors import GlassplateError
from glassplate.pipeline.run import restore as run


@pytest.fixture
def unasked(monkeypatch):
    """No request yet, and no reminder left behind."""
    monkeypatch.setattr(signals, "_asked", [])
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)


def restored(tmp_path):
    fits.writeto(tmp_path / "a.fits", np.ones((20, 20), "f4"))
    return commands_run.restore(
        tmp_path / "a.fits", tmp_path / "a.zarr", pool="inline", progress="none"
    )


def test_a_request_that_a_library_swallowed_ends_as_one(unasked, monkeypatch, tmp_path):
    # SIGTERM while torch was being imported in the first tile came out as an ImportError of that tile
    def fail(*_):
        with pytest.raises(KeyboardInterrupt):
            signals._interrupt(signal.SIGTERM, None)
        raise GlassplateError("all 1 tiles failed: ImportError: cannot import name")

    monkeypatch.setattr(run, "restore", fail)
    with pytest.raises(signals.Interrupted, match="interrupted"):
        restored(tmp_path)


def test_without_a_request_a_failure_is_one(unasked, monkeypatch, tmp_path):
    def fail(*_):
        raise GlassplateError("all 1 tiles failed: of themselves")

    monkeypatch.setattr(run, "restore", fail)
    with pytest.raises(GlassplateError, match="of themselves") as failure:
        restored(tmp_path)
    assert not isinstance(failure.value, signals.Interrupted)
