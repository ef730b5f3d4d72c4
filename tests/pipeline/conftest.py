"""A process that has imported the pipeline, and forks for each call whose memory is measured."""

import pytest
from peak_memory import ForkServer


@pytest.fixture(scope="session")
def forks():
    """Functions of `run_memory` by name, each called in a fork of its own."""
    server = ForkServer("run_memory")
    yield server
    server.close()
