import pytest

from glassplate.flows.server.server import prefect_api
from glassplate.pipeline.errors import GlassplateError


def test_a_given_server_is_used(environment):
    environment["PREFECT_API_URL"] = "http://prefect.example:4200/api"
    with prefect_api(services=True) as wait_for_api:
        assert wait_for_api() == "http://prefect.example:4200/api"
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
        prefect_api(services=False) as wait_for_api,
        pytest.raises(GlassplateError, match=r"ended with code 1; its log: .*server\.log"),
    ):
        wait_for_api()
    assert "PREFECT_API_URL" not in environment
