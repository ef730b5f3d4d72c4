"""Processes stop when what they depend on is lost."""

import socket
import subprocess
import sys
import threading

import psutil
import pytest

from glassplate.flows.processes import liveness
from glassplate.pipeline.errors import GlassplateError

# The tests ask only whether something happens at all.
PATIENCE_S = 60


@pytest.fixture
def stopped(monkeypatch):
    """Errors for which the process would have been stopped, and an event that is set then."""
    causes, stopping = [], threading.Event()

    def stop_with(cause):
        causes.append(str(cause))
        stopping.set()

    monkeypatch.setattr(liveness, "stop_with", stop_with)
    monkeypatch.setattr(liveness, "POLL_S", 0.01)
    return causes, stopping


def test_a_lost_dependency_stops_the_process(stopped):
    causes, stopping = stopped
    there = iter([True, True, False])
    with liveness.stop_when_lost(lambda: next(there, False), 0.0, lambda: GlassplateError("gone")):
        assert stopping.wait(PATIENCE_S)
    assert causes == ["gone"]


def test_a_dependency_that_returns_in_time_does_not(stopped):
    causes, _ = stopped
    looks, enough = iter([True, False, False] * 3), threading.Event()

    def is_there():
        answer = next(looks, None)
        if answer is None:
            enough.set()
        return answer is not False

    with liveness.stop_when_lost(is_there, 3600.0, lambda: GlassplateError("gone")):
        assert enough.wait(PATIENCE_S)
    assert causes == []


def test_a_process_that_is_already_stopped_is_not_stopped_again(stopped, monkeypatch):
    # systemd stops the server and the command at the same time; the command then ends by its signal
    causes, stopping = stopped
    monkeypatch.setattr(liveness, "stop_requested", lambda: True)
    with liveness.stop_when_lost(lambda: False, 0.0, lambda: GlassplateError("gone")):
        assert not stopping.wait(0.2)
    assert causes == []


def test_a_port_accepts_connections_while_a_program_listens():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        assert not liveness.accepts_connections(url)
        listener.listen()
        assert liveness.accepts_connections(url)
    assert not liveness.accepts_connections(url)


RUN = """
import os, subprocess, sys, time
os.environ["GLASSPLATE_SERVED_BY"] = sys.argv[1]
from glassplate.flows.processes.liveness import end_with_service
end_with_service()
worker = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL)
print(worker.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_a_run_and_its_workers_end_with_its_service():
    service = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    words = [sys.executable, "-c", RUN, str(service.pid)]
    run, worker = subprocess.Popen(words, stdout=subprocess.PIPE, text=True), None
    try:
        worker = psutil.Process(int(run.stdout.readline()))
        service.kill()
        service.communicate()
        assert run.wait(PATIENCE_S) == 1
        _, alive = psutil.wait_procs([worker], timeout=PATIENCE_S)
        assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
        late = subprocess.run(words, stdout=subprocess.PIPE, text=True, timeout=PATIENCE_S)
        assert (late.returncode, late.stdout) == (1, "")
    finally:
        if worker is not None and worker.is_running():
            worker.kill()
        run.kill()
        run.communicate()
        service.kill()
        service.wait()


def test_a_command_without_a_service_continues(monkeypatch):
    before = threading.active_count()
    monkeypatch.delenv(liveness.SERVED_BY, raising=False)
    liveness.end_with_service()
    monkeypatch.setenv(liveness.SERVED_BY, "")
    liveness.announce_service()
    liveness.end_with_service()
    assert threading.active_count() == before
