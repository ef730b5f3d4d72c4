"""What tests of faults share: a small image and its undisturbed result, and commands."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from commands import run_command
from faulty_work import FIT
from runs import digest, request
from skies import write_sky

from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.run.restore import restore


@pytest.fixture
def make_sky():
    return write_sky


@pytest.fixture
def gp():
    """Run a command in this process."""
    return run_command


@pytest.fixture
def command():
    """Words that run the installed command in a process of its own."""
    return [str(Path(sys.executable).parent / "glassplate")]


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
