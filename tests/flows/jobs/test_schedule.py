import re
import signal
import subprocess
import time

import psutil
import pytest

from glassplate.flows.jobs.schedule import Timetable
from glassplate.flows.processes.liveness import SERVED_BY
from glassplate.pipeline.errors import UsageError


@pytest.mark.parametrize(
    ("cron", "interval_s", "message"),
    [
        (None, None, "either --cron"),
        ("0 2 * * *", 5.0, "either --cron"),
        (None, 0.0, "--interval 0: at least 1 second"),
        (None, -3.0, "--interval -3"),
    ],
)
def test_a_timetable_is_one_or_the_other(cron, interval_s, message):
    with pytest.raises(UsageError, match=message):
        Timetable(cron, interval_s)


def test_a_timetable_can_be_read():
    assert str(Timetable(None, 90.0)) == "every 1 min 30 s"
    assert str(Timetable("0 2 * * *", None)) == 'by cron "0 2 * * *"'


def wait_for(condition, process, log, timeout_s=150):
    """Wait until a condition holds; fail with the log if it does not in time, or the process ends."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


@pytest.mark.prefect
@pytest.mark.slow
def test_a_served_job_runs_skips_finished_results_and_stops(
    command, make_sky, tmp_path, monkeypatch
):
    monkeypatch.setenv("PREFECT_RUNNER_POLL_FREQUENCY", "1")
    make_sky(tmp_path / "a.fits")
    job = tmp_path / "job.yaml"
    job.write_text("inputs: '*.fits'\noutput: out\nrecipe: identity\npool: inline\n")
    log = tmp_path / "log.txt"
    with log.open("w") as sink:
        process = subprocess.Popen(
            [*command, "serve", str(job), "--interval", "5", "--name", f"serve-{tmp_path.name}"],
            cwd=tmp_path,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: "a.fits: restored" in log.read_text(), process, log)
        made = (tmp_path / "out" / "a.zarr" / "provenance" / "manifest.json").read_bytes()
        make_sky(tmp_path / "b.fits", seed=1)  # arrives between two runs
        wait_for(lambda: "b.fits: restored" in log.read_text(), process, log)
        wait_for(lambda: "a.fits: done before" in log.read_text(), process, log)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    text = log.read_text()
    assert re.search(
        r"serving glassplate-bulk/serve-\S+ every 5\.0 s; Prefect: http://127\.0\.0\.1", text
    )
    assert text.rstrip().endswith("glassplate: stopped")
    assert "Traceback" not in text
    assert (tmp_path / "out" / "a.zarr" / "provenance" / "manifest.json").read_bytes() == made
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive, "the server or a run outlives the command"


@pytest.mark.prefect
@pytest.mark.slow
@pytest.mark.usefixtures("shared_prefect")
def test_a_wrong_cron_is_refused(gp, make_sky, tmp_path, monkeypatch):
    # serving leaves them in the environment
    monkeypatch.setenv(SERVED_BY, "")
    monkeypatch.setenv("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "ERROR")
    make_sky(tmp_path / "a.fits")
    job = tmp_path / "job.yaml"
    job.write_text(f"inputs: {tmp_path}/a.fits\noutput: {tmp_path}/out\nrecipe: identity\n")
    run = gp("serve", job, "--cron", "every night")
    assert run.code == 2, run
    assert len(run.err.splitlines()) == 1
    assert "--cron every night: " in run.err
