"""Jobs as Prefect flows, on the Prefect server of the session: few runs, each checked from all sides."""

import os
import shutil
import sqlite3
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import zarr
from astropy.io import fits

from glassplate.pipeline.events import (
    FitProgress,
    RunStarted,
    StageAdvanced,
    StageStarted,
    TileDone,
    Warned,
)

# Seconds in which the server writes what a finished run has sent to it.
PATIENCE_S = 60


def rows(query, *values):
    """Rows of Prefect's own database."""
    with sqlite3.connect(Path(os.environ["PREFECT_HOME"]) / "prefect.db") as database:
        return database.execute(query, values).fetchall()


@pytest.mark.prefect
@pytest.mark.slow
@pytest.mark.usefixtures("shared_prefect")
def test_a_job_quarantines_bad_images_and_resumes(gp, gp_process, make_sky, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for seed in range(3):
        make_sky(tmp_path / "in" / f"good{seed}.fits", seed=seed)
    (tmp_path / "in" / "bad.fits").write_text("this is no FITS file\n" * 50)
    job, out = tmp_path / "job.yaml", tmp_path / "out"
    job.write_text(
        "inputs: in/*.fits\noutput: out\nrecipe: identity\nexport: auto\npool: inline\n"
        f"name: job-{tmp_path.name}\ntags: [night]\n"
    )
    run = gp_process("batch", job)
    assert run.code == 3, run
    assert "Traceback" not in run.out + run.err
    for seed in range(3):
        assert zarr.open_group(out / f"good{seed}.zarr")["0"].shape == (40, 56)
        assert fits.getdata(out / f"good{seed}.fits").shape == (40, 56)
        assert f"good{seed}.fits: restored" in run.out
    assert "bad.fits: quarantined" in run.out
    assert "is no FITS, TIFF, PNG or JPEG" in run.out
    assert "4 images: 3 restored, 1 quarantined" in run.out
    assert not (out / "bad.zarr").exists()
    check_one_flow_run_with_a_task_run_per_image(f"job-{tmp_path.name}")

    (tmp_path / "in" / "bad.fits").unlink()
    make_sky(tmp_path / "in" / "bad.fits", seed=9)
    monkeypatch.chdir(tmp_path)
    again = gp("batch", job, "--progress", "none")
    assert again.code == 0, again
    assert (again.out, again.err) == ("", "")
    assert (out / "bad.zarr").is_dir()

    # a chunk that was missing once made the export all NaN, with "done before" and exit code 0
    exports = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.glob("*.fits")}
    assert len(exports) == 4
    shutil.rmtree(out / "good0.zarr" / "0" / "c")
    with (out / "good1.zarr" / "0" / "c" / "0" / "0").open("r+b") as chunk:
        chunk.write(b"\xff")
    damaged = gp("batch", job)
    assert damaged.code == 3, damaged
    assert "4 images: 2 done before, 2 quarantined" in damaged.out
    assert "good0.zarr: is damaged, 1 file(s) missing, first 0/c/0/0" in damaged.out
    assert "good1.zarr: is damaged, 1 file(s) damaged, first 0/c/0/0" in damaged.out
    assert "Traceback" not in damaged.out + damaged.err
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in out.glob("*.fits")} == exports


def check_one_flow_run_with_a_task_run_per_image(name):
    ((flow_run, state, tags),) = rows(
        "select id, state_name, tags from flow_run where name like ?", f"{name} 20%"
    )
    # an automation fires on the event prefect.flow-run.Partial
    assert state == "Partial"
    assert "night" in tags
    expected = [
        ("bad.fits", "FAILED"),
        *((f"good{seed}.fits", "COMPLETED") for seed in range(3)),
    ]
    deadline = time.monotonic() + PATIENCE_S
    query = "select name, state_type from task_run where flow_run_id = ? order by name"
    while (tasks := rows(query, flow_run)) != expected and time.monotonic() < deadline:
        time.sleep(0.2)
    assert tasks == expected
    ((data,),) = rows("select data from artifact where flow_run_id = ?", flow_run)
    assert "good1.fits" in data
    assert "bad.fits" in data
    logged = {text for (text,) in rows("select message from log where flow_run_id = ?", flow_run)}
    assert any("good0.fits: 1 tile" in text for text in logged)


@pytest.mark.prefect
@pytest.mark.slow
@pytest.mark.usefixtures("shared_prefect")
def test_a_job_of_bad_images_fails_and_names_each(gp, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.fits").write_text("text")
    (tmp_path / "b.tif").write_bytes(b"")
    job = tmp_path / "job.yaml"
    job.write_text("inputs: [a.fits, b.tif]\noutput: out\nrecipe: identity\npool: inline\n")
    run = gp("batch", job, "--progress", "none")
    assert run.code == 1, run
    assert run.out == ""
    errors = run.err.splitlines()
    assert len(errors) == 2
    assert all(line.startswith("glassplate: ") for line in errors)
    assert "a.fits" in errors[0]
    assert "b.tif: is empty" in errors[1]


@pytest.mark.prefect
@pytest.mark.slow
@pytest.mark.usefixtures("shared_prefect")
def test_a_second_night_leaves_out_results_and_a_clash_affects_only_its_images(
    gp, make_sky, tmp_path, monkeypatch
):
    # the second night ended with exit code 2, one of two HDUs was done, and one clash failed the night
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    make_sky(data / "good.fits")
    make_sky(data / "twice.fits")
    (data / "twice.tif").write_bytes(b"II*\0 another image of that name")
    sky = fits.getdata(data / "good.fits")
    parts = [fits.ImageHDU(sky + n, name=f"C{n}") for n in (1, 2)]
    fits.HDUList([fits.PrimaryHDU(), *parts]).writeto(data / "chips.fits")
    job = tmp_path / "job.yaml"
    job.write_text(
        "inputs: [data/**/*.*, {path: data/chips.fits, hdu: C1}, {path: data/chips.fits, hdu: C2}]\n"
        "output: data/restored\nexport: auto\nrecipe: identity\npool: inline\n"
    )
    good = {"good", "chips-C1", "chips-C2"}
    for night in ("restored", "done before"):
        run = gp("batch", job)
        assert run.code == 3, run
        assert {path.stem for path in (data / "restored").glob("*.zarr")} == good
        assert {path.stem for path in (data / "restored").glob("*.fits")} == good
        assert f"5 images: 3 {night}, 2 quarantined" in run.out
        assert f"chips.fits[C2]: {night}" in run.out
        assert "would both become" in run.out
        assert ("that glassplate made left out" in run.out) == (night == "done before")


class TestListener:
    """What a task does with the events of its run, without a server."""

    @pytest.fixture
    def setting(self, tmp_path, monkeypatch):
        from glassplate.flows.accounts.account import Account
        from glassplate.flows.jobs import flow
        from glassplate.flows.jobs.image import Image
        from glassplate.flows.jobs.job import Job
        from glassplate.flows.jobs.running.asked import asked_of
        from glassplate.flows.jobs.running.budget import Budget
        from glassplate.flows.jobs.running.job_run import JobRun
        from glassplate.flows.jobs.running.outcomes import Look
        from glassplate.flows.jobs.running.settled import RunFacts
        from glassplate.flows.report.job_log import open_log
        from glassplate.pipeline.sources.source import SourceSpec

        class Log(list):
            def info(self, text, *values):
                self.append(text % values)

            warning = info

        shown, log = [], Log()
        monkeypatch.setattr(flow, "get_run_logger", lambda: log)
        facts = RunFacts(Job(inputs="a.fits", output=tmp_path))
        image = Image(SourceSpec(Path("a.fits")), tmp_path / "a.zarr", None, (), None, None)
        with open_log(tmp_path / "job.log", "text", "info", "") as job_log:
            run = JobRun(
                facts=facts,
                pool=None,
                display=shown.append,
                log=job_log,
                account=Account(tmp_path),
                budget=Budget(facts.job.limits, tmp_path),
                context={},
            )
            look = Look.at(image, facts, None, asked_of(image))
            yield flow, run, look, shown, log

    @pytest.mark.slow
    def test_all_events_are_shown_and_few_are_logged(self, setting, tmp_path):
        flow, run, look, shown, log = setting
        store = look.image.store
        events = [
            RunStarted(Path("a.fits"), store, 4, 0),
            StageStarted(store, "restore", 4),
            *(FitProgress(store, 0, i, 100, 1.0) for i in range(100)),
            StageAdvanced(store, "stitch", 1, 1),
            Warned(store, "odd"),
        ]
        with flow._listener("a.fits", look, run) as listen:
            for event in events:
                listen(event)
        assert shown == events
        assert log == ["a.fits: 4 tiles", "a.fits: odd"]
        lines = (tmp_path / "job.log").read_text().splitlines()
        assert [line.split(None, 1)[1] for line in lines] == [
            "INFO    a.fits: 4 tiles",
            "WARNING a.fits: odd",
        ]

    def test_the_time_of_an_image_counts_from_its_first_tile_on(self, setting, tmp_path):
        from glassplate.flows.jobs.limits import Limits
        from glassplate.flows.jobs.running.budget import Budget
        from glassplate.flows.jobs.running.verdicts import LimitReachedError

        flow, run, look, _, _ = setting
        store, now = look.image.store, [0.0]
        budget = Budget(Limits(image_seconds=10), tmp_path, lambda: now[0])
        with flow._listener("a.fits", look, replace(run, budget=budget)) as listen:
            listen(StageStarted(store, "restore", 4))
            now[0] = 100.0  # the tiles of other images go first
            listen(TileDone(store, 0, True, 100, "cap", 1.0))
            now[0] = 109.0
            listen(TileDone(store, 1, True, 100, "cap", 1.0))
            now[0] = 111.0
            with pytest.raises(LimitReachedError, match="took longer"):
                listen(TileDone(store, 2, True, 100, "cap", 1.0))

    def test_a_stopped_run_ends_in_its_own_thread_only(self, setting):
        flow, run, look, _, _ = setting
        event = Warned(look.image.store, "odd")
        run.stop.set()
        with flow._listener("a.fits", look, run) as listen:
            elsewhere = threading.Thread(target=listen, args=(event,))
            elsewhere.start()
            elsewhere.join()
            with pytest.raises(KeyboardInterrupt):
                listen(event)
