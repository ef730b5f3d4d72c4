"""A store that speaks S3, for the tests of buckets."""

import pytest

pytest.importorskip("obstore")
pytest.importorskip("moto")

from s3_server import KEYS, s3_server

from glassplate.flows.jobs.buckets import bucket


@pytest.fixture
def store(monkeypatch):
    """The store, whose address and keys are in the environment."""
    # once, and soon: the tests do not wait
    monkeypatch.setitem(bucket.RETRIES, "max_retries", 2)
    monkeypatch.delenv("AWS_ENDPOINT", raising=False)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with s3_server() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        yield server
