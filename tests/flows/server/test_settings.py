import os

import pytest

from glassplate.flows.server import settings as embedded
from glassplate.flows.server.server import prefect_api
from glassplate.pipeline.errors import GlassplateError


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """An environment of its own, in which Prefect has not been heard of."""
    kept = {k: v for k, v in os.environ.items() if "PREFECT" not in k and k != "DO_NOT_TRACK"}
    monkeypatch.setattr(os, "environ", kept)
    kept.pop("NO_PROXY", None)
    kept.pop("no_proxy", None)
    return kept


def test_nothing_is_reported_and_the_home_is_our_own(environment):
    environment["HOME"] = "/home/ada"
    embedded.prepare()
    assert environment["DO_NOT_TRACK"] == "1"
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert environment["PREFECT_HOME"] == "/home/ada/.glassplate/prefect"
    assert environment["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] == "CRITICAL"
    assert environment["NO_PROXY"] == environment["no_proxy"] == "127.0.0.1"


def test_what_the_user_set_stays(environment):
    wished = {
        "PREFECT_HOME": "/srv/prefect",
        "PREFECT_LOGGING_LEVEL": "DEBUG",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "7",
        "NO_PROXY": "intranet,127.0.0.1",
    }
    environment.update(wished)
    embedded.prepare()
    assert wished.items() <= environment.items()
    assert "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL" not in environment


def test_settings_are_known_to_prefect():
    """A setting that Prefect renames would be ignored without a word."""
    import prefect.settings

    ours = [key for key in embedded.SETTINGS if key.startswith("PREFECT_")]
    assert [key for key in ours if not hasattr(prefect.settings, key)] == []
    assert not hasattr(prefect.settings, "PREFECT_NO_SUCH_SETTING")


def test_a_given_server_is_used(environment):
    environment["PREFECT_API_URL"] = "http://prefect.example:4200/api"
    with prefect_api(services=True) as ready:
        assert ready() == "http://prefect.example:4200/api"
    assert environment["PREFECT_API_URL"] == "http://prefect.example:4200/api"


def test_a_home_that_cannot_be_made_is_named(environment, tmp_path):
    (tmp_path / "file").write_text("")
    environment["PREFECT_HOME"] = str(tmp_path / "file" / "prefect")
    with (
        pytest.raises(GlassplateError, match="set PREFECT_HOME to another"),
        prefect_api(services=False),
    ):
        pass


def test_a_server_that_ends_at_once_is_told_with_its_log(environment, tmp_path, monkeypatch):
    environment["PREFECT_HOME"] = str(tmp_path)
    monkeypatch.setattr("glassplate.flows.server.server.sys.executable", "/bin/false")
    with (
        prefect_api(services=False) as ready,
        pytest.raises(GlassplateError, match=r"ended with code 1; its log: .*server\.log"),
    ):
        ready()
    assert "PREFECT_API_URL" not in environment
