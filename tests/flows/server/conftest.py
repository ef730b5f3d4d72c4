"""An environment in which Prefect has no settings yet."""

import os

import pytest


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """An environment without any variable of Prefect."""
    kept = {k: v for k, v in os.environ.items() if "PREFECT" not in k and k != "DO_NOT_TRACK"}
    monkeypatch.setattr(os, "environ", kept)
    kept.pop("NO_PROXY", None)
    kept.pop("no_proxy", None)
    return kept
