"""A request to stop is never lost, and an error after it is not reported as a failure."""

import signal

import numpy as np
import pytest
from astropy.io import fits

from glassplate.flows.cli import options
from glassplate.flows.cli import restore as commands
from glassplate.flows.cli.image_options import ImageOptions
from glassplate.flows.processes import signals
from glassplate.pipeline.errors import GlassplateError
from glassplate.pipeline.run import restore as run


@pytest.fixture
def no_request(monkeypatch):
    """A process that has not been asked to stop."""
    monkeypatch.setattr(signals, "_requests", [])
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)


def restored(tmp_path):
    fits.writeto(tmp_path / "a.fits", np.ones((20, 20), "f4"))
    return commands.restore(
        tmp_path / "a.zarr",
        options.RecipeOptions(),
        ImageOptions(source=tmp_path / "a.fits"),
        options.PoolOptions(pool="inline"),
        progress="none",
    )


def test_an_error_after_a_request_is_an_interruption(no_request, monkeypatch, tmp_path):
    # SIGTERM during the import of torch in the first tile surfaced as an ImportError of that tile
    def fail(*_):
        with pytest.raises(KeyboardInterrupt):
            signals._interrupt(signal.SIGTERM, None)
        raise GlassplateError("all 1 tiles failed: ImportError: cannot import name")

    monkeypatch.setattr(run, "restore", fail)
    with pytest.raises(signals.Interrupted, match="interrupted"):
        restored(tmp_path)


def test_an_error_without_a_request_is_a_failure(no_request, monkeypatch, tmp_path):
    def fail(*_):
        raise GlassplateError("all 1 tiles failed: of themselves")

    monkeypatch.setattr(run, "restore", fail)
    with pytest.raises(GlassplateError, match="of themselves") as failure:
        restored(tmp_path)
    assert not isinstance(failure.value, signals.Interrupted)
