import fcntl
import subprocess
import threading

import pytest

from glassplate.flows.processes import liveness
from glassplate.flows.server import server
from glassplate.flows.server.address import given_address
from glassplate.flows.server.server import prefect_api, start_server
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


class TestAddress:
    def test_is_that_of_this_machine_alone_unless_told_otherwise(self, environment):
        assert given_address() == ("127.0.0.1", 0)
        environment["PREFECT_SERVER_API_HOST"] = "0.0.0.0"
        environment["PREFECT_SERVER_API_PORT"] = "4200"
        assert given_address() == ("0.0.0.0", 4200)

    @pytest.mark.parametrize(
        ("host", "port", "message"),
        [
            ("127.0.0.1", "http", "PREFECT_SERVER_API_PORT is 'http'"),
            ("127.0.0.1", "70000", "cannot use the address 127.0.0.1:70000"),
            ("192.0.2.1", "0", "change or unset PREFECT_SERVER_API_HOST"),
        ],
    )
    def test_one_that_cannot_be_used_is_named(
        self, environment, tmp_path, monkeypatch, host, port, message
    ):
        environment["PREFECT_SERVER_API_HOST"] = host
        environment["PREFECT_SERVER_API_PORT"] = port
        with pytest.raises(GlassplateError, match=message):
            start_server(tmp_path / "log", services=True)


@pytest.mark.parametrize("services", [False, True])
def test_a_command_and_a_service_end_when_their_server_is_killed(
    environment, tmp_path, monkeypatch, services
):
    """A service went on for ever and ran nothing, since it heard nothing of its server's end."""
    environment["PREFECT_HOME"] = str(tmp_path)
    process, causes, stopped = subprocess.Popen(["sleep", "600"]), [], threading.Event()
    monkeypatch.setattr(server, "start_server", lambda log, services: (process, "http://there/api"))
    monkeypatch.setattr(server, "wait_for_server", lambda *_: None)
    monkeypatch.setattr(liveness, "POLL_S", 0.01)
    monkeypatch.setattr(
        liveness, "stop_with", lambda cause: (causes.append(str(cause)), stopped.set())
    )
    with prefect_api(services=services) as wait_for_api:
        wait_for_api()
        process.kill()
        assert stopped.wait(60)
    (cause,) = causes
    assert cause.startswith("Prefect's server ended with code -9; what is done is kept")


def test_another_server_may_start_as_soon_as_this_one_answers(environment, tmp_path, monkeypatch):
    """The command may look for its images for long before it needs the server."""
    environment["PREFECT_HOME"] = str(tmp_path)
    asleep = subprocess.Popen(["sleep", "60"])
    monkeypatch.setattr(server, "start_server", lambda log, services: (asleep, "http://there/api"))
    monkeypatch.setattr(server, "wait_for_server", lambda *_: None)
    with prefect_api(services=False) as wait_for_api, (tmp_path / "server.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert asleep.poll() is None
        assert wait_for_api() == "http://there/api"
    assert asleep.poll() is not None
