"""What becomes of jobs and services when their server, or they themselves, are killed: real processes."""

import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

# All that is asked here is whether it ends at all: a machine may do ten other things meanwhile.
PATIENCE_S = 240


@pytest.fixture
def start(command, tmp_path):
    """Start a command on a job that would take for ever; it and all that it started is ended at the end."""
    started = []

    def go(*words, command=command):
        (tmp_path / "job.yaml").write_text(
            "inputs: a.fits\noutput: out\nrecipe: draft\npool: local\nworkers: 1\n"
            "set: {stopping.rule: fixed, fit.iterations: 10000000}\n"
        )
        log = (tmp_path / "log.txt").open("a")
        process = subprocess.Popen(
            [*command, words[0], str(tmp_path / "job.yaml"), *words[1:]],
            cwd=tmp_path,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        started.append((process, log))
        return process

    yield go
    for process, log in started:
        process.kill()
        process.wait()
        log.close()


def log_of(tmp_path):
    return (tmp_path / "log.txt").read_text()


def wait_until(condition, process, tmp_path):
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, log_of(tmp_path)
        assert time.monotonic() < until, log_of(tmp_path)
        time.sleep(0.2)


def family_of(process, tmp_path):
    """All processes of a command, once it has begun to restore."""
    wait_until(lambda: "a.fits: 1 tile" in log_of(tmp_path), process, tmp_path)
    return psutil.Process(process.pid).children(recursive=True)


def server_among(family):
    (server,) = [one for one in family if "glassplate.flows.server.server" in one.cmdline()]
    return server


def nobody_is_left(family):
    _, alive = psutil.wait_procs(family, timeout=30)
    return not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("words", [("batch",), ("serve", "--interval", "10")])
def test_a_command_whose_server_is_killed_ends_and_says_so(words, start, make_sky, tmp_path):
    # a job waited for minutes, a service lived on and ran nothing
    make_sky(tmp_path / "a.fits")
    process = start(*words)
    family = family_of(process, tmp_path)
    server_among(family).kill()
    assert process.wait(PATIENCE_S) == 1
    # in the log, not at its end: other threads complain of the same server at the same time
    said = "glassplate: Prefect's server ended with code -9; what is done is kept"
    assert said in log_of(tmp_path)
    assert nobody_is_left(family)
    assert (tmp_path / "out" / "a.zarr").is_dir()


def test_a_service_that_is_killed_leaves_nothing_and_the_next_one_says_so(
    start, make_sky, tmp_path
):
    make_sky(tmp_path / "a.fits")
    words = ("serve", "--interval", "10", "--name", f"killed-{tmp_path.name}")
    process = start(*words)
    family = family_of(process, tmp_path)
    process.kill()
    process.wait()
    assert nobody_is_left(family)
    again = start(*words)
    line = re.compile(r"^1 run of an earlier service marked as crashed", re.MULTILINE)
    wait_until(lambda: line.search(log_of(tmp_path)), again, tmp_path)
    twice = start(*words)
    assert twice.wait(PATIENCE_S) == 2
    assert "another service on this machine has this name" in log_of(tmp_path)
    again.send_signal(signal.SIGTERM)
    assert again.wait(PATIENCE_S) == 0
    assert (tmp_path / "out" / "a.zarr").is_dir()


# As on a file server that is gone: the thread hears nothing, and no exception reaches it.
BLOCKED = """
import time
from glassplate.pipeline import open_source

def blocks(path):
    print("blocked", flush=True)
    time.sleep(3600)

open_source.sniff_format = blocks

from glassplate.flows.cli.main import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_job_that_waits_for_a_file_server_is_ended(number, start, make_sky, tmp_path):
    # a named pipe among the inputs held a job, and SIGTERM for minutes
    make_sky(tmp_path / "a.fits")
    (tmp_path / "blocked.py").write_text(BLOCKED)
    process = start("batch", command=[sys.executable, str(tmp_path / "blocked.py")])
    wait_until(lambda: "blocked" in log_of(tmp_path), process, tmp_path)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    assert process.wait(PATIENCE_S) == 130
    assert "glassplate: interrupted" in log_of(tmp_path)
    assert "Traceback" not in log_of(tmp_path)
    assert nobody_is_left(family)
