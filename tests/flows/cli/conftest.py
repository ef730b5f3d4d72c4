"""A result for the commands that read one."""

import pytest


@pytest.fixture
def done(gp, sky, tmp_path):
    """An identity result of the sky."""
    store = tmp_path / "done.zarr"
    run = gp("restore", sky, "-o", store, "--recipe", "identity", "--pool", "inline")
    assert run.code == 0, run
    return store
