"""The supervisor ends a command and every process that the command started, whatever they do."""

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
supervision.REPEAT_S, supervision.GRACE_S = {remind}, {grace}
supervision.supervise()
signals.interrupt_on_sigterm()
"""

BLOCKS_SIGNALS = "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})\n"
SLEEP = "print('ready', flush=True)\ntime.sleep(600)\n"
# a process that has left its group and its parent, and ignores signals
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
    """Start a supervised program; at the end, every process of it is killed."""
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
            # nohup, under which the tests themselves may run, ignores SIGHUP
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
    deadline = time.monotonic() + timeout_s
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("code", [0, 2, 130])
def test_the_exit_code_is_that_of_the_command(code, run):
    process = run(f"print('done')\nsys.exit({code})")
    assert process.communicate(timeout=60) == ("done\n", "")
    assert process.returncode == code


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_command_that_handles_no_signal_is_killed(number, run, tmp_path):
    # a thread that waits in the kernel for a lost file server handles none either
    process = run(ORPHAN + BLOCKS_SIGNALS + SLEEP)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == (
        "glassplate: interrupted, by force; what is done is kept, the same command goes on from there\n"
    )
    assert gone(int((tmp_path / "orphan").read_text())), "an orphan outlives the command"


@pytest.mark.slow
def test_a_process_that_a_command_leaves_behind_is_killed(run, tmp_path):
    process = run(ORPHAN + "print('done')")
    assert process.communicate(timeout=60) == ("done\n", "")
    assert process.returncode == 0
    assert gone(int((tmp_path / "orphan").read_text()))


def test_a_killed_supervisor_takes_the_command_with_it(run):
    process = run(BLOCKS_SIGNALS + "print(os.getpid(), flush=True)\ntime.sleep(600)")
    command = int(process.stdout.readline())
    assert command != process.pid
    process.kill()
    assert gone(command)


def test_a_killed_command_is_reported(run):
    process = run("os.kill(os.getpid(), signal.SIGSEGV)")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGSEGV
    assert err.startswith("glassplate: ended by SIGSEGV; what is done is kept")


@pytest.mark.slow
def test_a_dropped_request_is_repeated(run):
    body = """
        class Drops:
            def __del__(self):
                print("ready", flush=True)
                time.sleep(600)

        signals.SAME_REQUEST_S = 0.1
        one = Drops()
        try:
            del one
            print("dropped", flush=True)
            time.sleep(600)
        except KeyboardInterrupt:
            print("heard", flush=True)
    """
    process = run(body, remind=1.0, grace=300.0)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60) == ("dropped\nheard\n", "")
    assert process.returncode == 0


@pytest.mark.slow
def test_a_second_request_does_not_interrupt_the_clean_up(run):
    body = """
        try:
            print("ready", flush=True)
            time.sleep(600)
        except KeyboardInterrupt:
            time.sleep(1)
            print("clean", flush=True)
    """
    process = run(body, remind=300.0, grace=300.0)
    assert process.stdout.readline() == "ready\n"
    os.killpg(
        process.pid, signal.SIGINT
    )  # as Ctrl-C in a terminal: to the command and its supervisor
    assert process.communicate(timeout=60) == ("clean\n", "")
    assert process.returncode == 0
