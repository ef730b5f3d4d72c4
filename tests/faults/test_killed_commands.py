"""What happens to jobs and services when their server, or they themselves, are killed: real processes."""

import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest
import yaml
from faulty_work import FIT
from runs import digest, request

from glassplate.flows.jobs.serving import schedule
from glassplate.flows.processes.liveness import SERVED_BY
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.run.restore import restore

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

# The tests ask only whether a process ends at all. The machine may run ten other programs meanwhile.
PATIENCE_S = 240


# A recipe that never ends.
ENDLESS = (
    "stopping: {rule: fixed}\nfit: {iterations: 10000000}\nnetwork: {channels: 8, scales: 3}\n"
)


@pytest.fixture
def start(command, tmp_path):
    """Start a command on a job of the recipe that is there; at the end, the command is killed."""
    started = []

    def go(*words, command=command, pool="local", recipe=ENDLESS):
        # another job each time: runs of an earlier one that were scheduled are not to be started
        path = tmp_path / f"recipe-{len(started)}.yaml"
        path.write_text(recipe)
        (tmp_path / "job.yaml").write_text(
            f"inputs: '*.fits'\noutput: out\nrecipe: {path}\npool: {pool}\nworkers: 1\n"
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
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, log_of(tmp_path)
        assert time.monotonic() < deadline, log_of(tmp_path)
        time.sleep(0.2)


def family_of(process, tmp_path):
    """All descendants of a command, once its run has started to restore."""
    wait_until(lambda: "a.fits: 1 tile" in log_of(tmp_path), process, tmp_path)
    return psutil.Process(process.pid).children(recursive=True)


def nobody_is_left(family):
    _, alive = psutil.wait_procs(family, timeout=30)
    return not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


def test_a_job_whose_server_is_killed_ends_and_says_so(start, make_sky, tmp_path):
    # it once waited for minutes
    make_sky(tmp_path / "a.fits")
    process = start("batch")
    family = family_of(process, tmp_path)
    (server,) = [one for one in family if "glassplate.flows.server.server" in one.cmdline()]
    server.kill()
    assert process.wait(PATIENCE_S) == 1
    # in the log, not at its end: other threads complain about the same server at the same time
    message = "glassplate: Prefect's server ended with code -9; what is done is kept"
    assert message in log_of(tmp_path)
    assert nobody_is_left(family)
    assert (tmp_path / "out" / "a.zarr").is_dir()


def test_a_killed_service_leaves_no_process_and_the_next_one_goes_on_until_it_is_stopped(
    start, gp, make_sky, tmp_path, monkeypatch
):
    # in one test, since a service and its server take 20 s of a core to start
    monkeypatch.setenv("PREFECT_RUNNER_POLL_FREQUENCY", "1")
    make_sky(tmp_path / "a.fits")
    words = ("serve", "--interval", "2", "--name", f"killed-{tmp_path.name}")
    process = start(*words, pool="inline")
    family = family_of(process, tmp_path)
    process.kill()
    process.wait()
    assert nobody_is_left(family)
    assert (tmp_path / "out" / "a.zarr").is_dir()
    shutil.rmtree(tmp_path / "out")  # of a recipe that never ends

    again = start(*words, pool="inline", recipe="task: identity\n")
    line = re.compile(r"^1 run of an earlier service marked as crashed", re.MULTILINE)
    wait_until(lambda: line.search(log_of(tmp_path)), again, tmp_path)
    check_that_a_second_one_is_refused(gp, tmp_path, words, monkeypatch)
    check_runs_until_stopped(again, make_sky, tmp_path)


def check_that_a_second_one_is_refused(gp, tmp_path, words, monkeypatch):
    """A service of the name of one that runs is refused."""
    # in this process, where serving leaves these in the environment
    monkeypatch.setenv(SERVED_BY, "")
    monkeypatch.setenv("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "ERROR")
    monkeypatch.setattr(schedule, "NAME_S", 0.5)
    with monkeypatch.context() as there:
        there.chdir(tmp_path)
        twice = gp("serve", tmp_path / "job.yaml", *words[1:])
    assert twice.code == 2
    assert "another service on this machine has this name" in twice.err


def check_runs_until_stopped(process, make_sky, tmp_path):
    """A served job restores what arrives between its runs and skips what is finished; SIGTERM ends it."""
    wait_until(lambda: "a.fits: restored" in log_of(tmp_path), process, tmp_path)
    manifest = tmp_path / "out" / "a.zarr" / "provenance" / "manifest.json"
    made = manifest.read_bytes()
    make_sky(tmp_path / "b.fits", seed=1)
    wait_until(lambda: "b.fits: restored" in log_of(tmp_path), process, tmp_path)
    wait_until(lambda: "a.fits: done before" in log_of(tmp_path), process, tmp_path)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0, log_of(tmp_path)
    assert nobody_is_left(family)
    text = log_of(tmp_path)
    assert re.search(
        r"serving glassplate-bulk/killed-\S+ every 2\.0 s; Prefect: http://127\.0\.0\.1", text
    )
    assert text.rstrip().endswith("glassplate: stopped")
    assert "Traceback" not in text
    assert manifest.read_bytes() == made


# The service looks at the inputs every ten seconds otherwise, and a file has to be the same in two looks.
LOOKS_OFTEN = """
from glassplate.flows.jobs.serving import schedule

watched = schedule._watched

def often(*words):
    from glassplate.flows.jobs.serving import watch
    watch.POLL_S = 2.0
    return watched(*words)

schedule._watched = often

if __name__ == "__main__":  # the workers import this file too
    from glassplate.flows.cli.main import main

    main()
"""


@pytest.mark.usefixtures("shared_prefect")
def test_a_watched_job_waits_for_whole_files_and_its_run_can_be_cancelled(
    start, make_sky, tmp_path, monkeypatch
):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.states import Cancelling

    monkeypatch.setenv("PREFECT_RUNNER_POLL_FREQUENCY", "1")
    content = make_sky(tmp_path / "whole.tmp").read_bytes()
    (tmp_path / "often.py").write_text(LOOKS_OFTEN)
    name = f"watched-{tmp_path.name}"
    process = start(
        "serve", "--watch", "--name", name, command=[sys.executable, str(tmp_path / "often.py")]
    )
    wait_until(lambda: "when images arrive; Prefect: " in log_of(tmp_path), process, tmp_path)
    with (tmp_path / "a.fits").open("wb") as file:
        # for longer than the two looks after which it would be whole
        for start_of_part in range(0, len(content), 1000):
            file.write(content[start_of_part : start_of_part + 1000])
            file.flush()
            time.sleep(0.5)
    family = family_of(process, tmp_path)  # its run has begun
    assert "quarantined" not in log_of(tmp_path)
    with get_client(sync_client=True) as client:
        known = client.read_deployment_by_name(f"glassplate-bulk/{name}")
        of_it = FlowRunFilter(deployment_id={"any_": [known.id]})
        (run,) = client.read_flow_runs(flow_run_filter=of_it)
        client.set_flow_run_state(run.id, Cancelling())
        wait_until(
            lambda: client.read_flow_run(run.id).state_type.value == "CANCELLED", process, tmp_path
        )
    wait_until(lambda: not workers_of(process), process, tmp_path)
    assert (tmp_path / "out" / "a.zarr" / "provenance" / "manifest.json").is_file()
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0, log_of(tmp_path)
    assert nobody_is_left(family)


def workers_of(process):
    """The workers among all descendants of a command."""
    found = []
    for one in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found += [one] if "spawn_main" in " ".join(one.cmdline()) else []
    return found


# A lost file server has the same effect: the thread handles no signal, and no exception reaches it. The
# supervisor kills the command sooner than it otherwise would, so that the test does not wait for that.
BLOCKED = """
import time
from glassplate.flows.processes import supervision
from glassplate.pipeline.sources import open_image

def blocks(path):
    print("blocked", flush=True)
    time.sleep(3600)

open_image.find_reader = blocks
supervision.GRACE_S = supervision.REPEAT_S

if __name__ == "__main__":  # the workers import this file too
    from glassplate.flows.cli.main import main

    main()
"""


# By SIGTERM; test_supervision ends commands that handle no signal by each of them.
@pytest.mark.usefixtures("shared_prefect")
def test_a_job_that_waits_for_a_file_server_is_ended(start, make_sky, tmp_path):
    # a named pipe among the inputs once blocked a job, and SIGTERM for minutes
    make_sky(tmp_path / "a.fits")
    (tmp_path / "blocked.py").write_text(BLOCKED)
    process = start("batch", command=[sys.executable, str(tmp_path / "blocked.py")])
    wait_until(lambda: "blocked" in log_of(tmp_path), process, tmp_path)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 130
    assert "glassplate: interrupted" in log_of(tmp_path)
    assert "Traceback" not in log_of(tmp_path)
    assert nobody_is_left(family)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restore_that_is_ended_leaves_no_process_and_resumes_with_the_same_bytes(
    number, command, image, undisturbed, tmp_path
):
    """The whole command with its worker, in the middle of its tiles."""
    store = tmp_path / "a.zarr"
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(FIT))
    words = ["restore", image, "-o", store, "--recipe", tmp_path / "recipe.yaml"]
    options = ["--device", "cpu", "--pool", "local", "--workers", "1"]
    with (tmp_path / "log.txt").open("w") as log:
        process = subprocess.Popen([*command, *map(str, words), *options], stdout=log, stderr=log)
        journal = store / "provenance" / "tiles.jsonl"
        wait_until(lambda: journal.exists() and journal.read_bytes(), process, tmp_path)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        code = process.wait(PATIENCE_S)
    assert code == (130 if number == signal.SIGTERM else -number), log_of(tmp_path)
    assert nobody_is_left(family)
    assert restore(request(image, store, FIT), InlinePool()).status == "complete"
    assert digest(store) == undisturbed
