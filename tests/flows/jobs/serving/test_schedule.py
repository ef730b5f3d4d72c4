import pytest

from glassplate.flows.jobs.serving import schedule
from glassplate.flows.jobs.serving.schedule import Timetable
from glassplate.flows.processes.liveness import SERVED_BY
from glassplate.pipeline.errors import GlassplateError, UsageError


@pytest.mark.parametrize(
    ("cron", "interval_s", "message"),
    [
        (None, None, "either --cron"),
        ("0 2 * * *", 5.0, "either --cron"),
        (None, 0.0, "--interval 0: at least 1 second"),
        (None, -3.0, "--interval -3"),
    ],
)
@pytest.mark.parametrize("watch", [True, False])
def test_a_timetable_is_one_or_the_other(cron, interval_s, message, watch):
    if watch and cron is None and interval_s is None:
        assert str(Timetable(None, None, watch)) == "when images arrive"
        return
    with pytest.raises(UsageError, match=message):
        Timetable(cron, interval_s, watch)


def test_a_timetable_can_be_read():
    assert str(Timetable(None, 90.0)) == "every 1 min 30 s"
    assert str(Timetable("0 2 * * *", None)) == 'by cron "0 2 * * *"'
    assert str(Timetable(None, 3600.0, True)) == "when images arrive and every 1 h 0 min"


class Interrupted:
    """A runner that is interrupted at once."""

    async def start(self):
        raise KeyboardInterrupt


@pytest.mark.parametrize("lost", [True, False])
def test_a_service_without_its_server_kills_its_runs(monkeypatch, lost):
    # it once lived on and ran nothing; tests/faults kills the server of a job
    killed = []
    cause = GlassplateError("Prefect's server ended with code -9") if lost else None
    monkeypatch.setattr(schedule, "stop_cause", lambda: cause)
    monkeypatch.setattr(schedule, "kill_descendants", lambda: killed.append("all"))
    with pytest.raises(KeyboardInterrupt):
        schedule._run_until_interrupted(Interrupted())
    assert killed == (["all"] if lost else [])


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
