"""The process above a command ends it and all that it started, whatever they are doing."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

BEGIN = """
import ctypes, os, signal, subprocess, sys, time
from glassplate.flows.processes import signals
from glassplate.flows.processes import supervision
supervision.REMIND_S, supervision.GRACE_S = {remind}, {grace}
supervision.supervise()
signals.interrupt_on_sigterm()
"""

DEAF = "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})\n"
SLEEP = "print('ready', flush=True)\ntime.sleep(600)\n"
# a process that has left its group and its parent, and hears nothing
ORPHAN = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        open(sys.argv[1], "w").write(str(os.getpid()))
        time.sleep(600)
    os._exit(0)
os.wait()
while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read():
    time.sleep(0.01)
"""


@pytest.fixture
def run(tmp_path):
    """Start a supervised program, and wait until it is ready; all of it is ended at the end."""
    started = []

    def go(body, *, remind=0.5, grace=1.0):
        script = tmp_path / "script.py"
        script.write_text(BEGIN.format(remind=remind, grace=grace) + textwrap.dedent(body))
        process = subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / "orphan")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # nohup, under which the tests themselves may run, has SIGHUP ignored
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )
        started.append(process)
        return process

    yield go
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    orphan = tmp_path / "orphan"
    if orphan.exists() and psutil.pid_exists(int(orphan.read_text())):
        os.kill(int(orphan.read_text()), signal.SIGKILL)


def gone(pid, timeout_s=30):
    """Whether a process ends."""
    until = time.monotonic() + timeout_s
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("code", [0, 2, 130])
def test_the_exit_code_is_the_commands(code, run):
    process = run(f"print('done')\nsys.exit({code})")
    assert process.communicate(timeout=60) == ("done\n", "")
    assert process.returncode == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_command_that_hears_nothing_is_ended(number, run, tmp_path):
    # a thread in the kernel, on a file server that is gone, hears as little
    process = run(ORPHAN + DEAF + SLEEP)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == (
        "glassplate: interrupted, by force; what is done is kept, the same command goes on from there\n"
    )
    assert gone(int((tmp_path / "orphan").read_text())), "an orphan outlives the command"


def test_what_a_command_leaves_behind_is_ended(run, tmp_path):
    process = run(ORPHAN + "print('done')")
    assert process.communicate(timeout=60) == ("done\n", "")
    assert process.returncode == 0
    assert gone(int((tmp_path / "orphan").read_text()))


def test_killed_itself_it_takes_the_command_along(run):
    process = run(DEAF + "print(os.getpid(), flush=True)\ntime.sleep(600)")
    command = int(process.stdout.readline())
    assert command != process.pid
    process.kill()
    assert gone(command)


def test_a_command_that_is_killed_is_told(run):
    process = run("os.kill(os.getpid(), signal.SIGSEGV)")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGSEGV
    assert err.startswith("glassplate: ended by SIGSEGV; what is done is kept")


def test_a_request_that_is_swallowed_is_repeated(run):
    body = """
        class Swallows:
            def __del__(self):
                print("ready", flush=True)
                time.sleep(600)

        signals.ONE_REQUEST_S = 0.1
        one = Swallows()
        try:
            del one
            print("swallowed", flush=True)
            time.sleep(600)
        except KeyboardInterrupt:
            print("heard", flush=True)
    """
    process = run(body, remind=1.0, grace=300.0)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60) == ("swallowed\nheard\n", "")
    assert process.returncode == 0


def test_a_request_that_comes_twice_does_not_disturb_the_tidying_up(run):
    body = """
        try:
            print("ready", flush=True)
            time.sleep(600)
        except KeyboardInterrupt:
            time.sleep(1)
            print("tidy", flush=True)
    """
    process = run(body, remind=300.0, grace=300.0)
    assert process.stdout.readline() == "ready\n"
    os.killpg(
        process.pid, signal.SIGINT
    )  # as a terminal's Ctrl-C: to the command and to the one above
    assert process.communicate(timeout=60) == ("tidy\n", "")
    assert process.returncode == 0
