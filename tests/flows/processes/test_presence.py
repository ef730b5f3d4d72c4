"""Processes that must not go on without each other."""

import socket
import subprocess
import sys
import threading

import pytest

from glassplate.flows.processes import presence
from glassplate.pipeline.errors import GlassplateError

# Only whether something comes to pass at all is asked.
PATIENCE_S = 60


@pytest.fixture
def stopped(monkeypatch):
    """What the process would have been stopped for, and an event that tells of it."""
    causes, told = [], threading.Event()

    def stop_for(cause):
        causes.append(str(cause))
        told.set()

    monkeypatch.setattr(presence, "stop_for", stop_for)
    monkeypatch.setattr(presence, "LOOK_S", 0.01)
    return causes, told


def test_what_is_gone_stops_the_process(stopped):
    causes, told = stopped
    there = iter([True, True, False])
    with presence.watched(lambda: next(there, False), 0.0, lambda: GlassplateError("gone")):
        assert told.wait(PATIENCE_S)
    assert causes == ["gone"]


def test_what_comes_back_in_time_does_not(stopped):
    causes, _ = stopped
    looks, enough = iter([True, False, False] * 3), threading.Event()

    def is_there():
        answer = next(looks, None)
        if answer is None:
            enough.set()
        return answer is not False

    with presence.watched(is_there, 3600.0, lambda: GlassplateError("gone")):
        assert enough.wait(PATIENCE_S)
    assert causes == []


def test_a_process_that_is_stopped_already_is_not_stopped_again(stopped, monkeypatch):
    # systemd tells the server and the command to stop at once; the command then ends as it was told
    causes, told = stopped
    monkeypatch.setattr(presence, "asked_to_stop", lambda: True)
    with presence.watched(lambda: False, 0.0, lambda: GlassplateError("gone")):
        assert not told.wait(0.2)
    assert causes == []


def test_something_answers_or_does_not():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        assert not presence.answers(url)
        listener.listen()
        assert presence.answers(url)
    assert not presence.answers(url)


RUN = """
import os, sys, time
os.environ["GLASSPLATE_SERVED_BY"] = sys.argv[1]
from glassplate.flows.processes.presence import end_with_service
end_with_service()
print("ready", flush=True)
time.sleep(600)
"""


def test_a_run_ends_with_the_service_that_has_started_it():
    service = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    words = [sys.executable, "-c", RUN, str(service.pid)]
    run = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert run.stdout.readline() == "ready\n"
        service.kill()
        service.communicate()
        assert run.wait(PATIENCE_S) == 1
        late = subprocess.run(words, stdout=subprocess.PIPE, text=True, timeout=PATIENCE_S)
        assert (late.returncode, late.stdout) == (1, "")
    finally:
        run.kill()
        run.communicate()
        service.kill()
        service.wait()


def test_a_command_that_nobody_serves_goes_on(monkeypatch):
    before = threading.active_count()
    monkeypatch.delenv(presence.SERVED_BY, raising=False)
    presence.end_with_service()
    monkeypatch.setenv(presence.SERVED_BY, "")
    presence.announce_service()
    presence.end_with_service()
    assert threading.active_count() == before
