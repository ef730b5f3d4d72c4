"""Runs of jobs in this process, without Prefect: what is worked on, and what the account says."""

import itertools
import json
import os
import re
import shutil

import numpy as np
import pytest
import zarr
from astropy.io import fits
from job_runs import JobRunner, check_sums, lines_of

from glassplate.flows.accounts import stamps
from glassplate.flows.jobs.images import find_images
from glassplate.flows.jobs.running import arriving, settled
from glassplate.pipeline.errors import DiskFullError, PassingError
from glassplate.pipeline.provenance import identity
from glassplate.pipeline.run import restore as restoring

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def no_file_is_too_fresh(monkeypatch):
    """Files of the tests are trusted though they are written right before."""
    monkeypatch.setattr(stamps, "CLOCK_NS", 0)


@pytest.fixture
def run():
    return JobRunner()


@pytest.fixture
def night(make_sky, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for seed, name in enumerate("abc"):
        make_sky(tmp_path / "in" / f"{name}.fits", seed=seed)
    return tmp_path


@pytest.fixture
def job_of(night):
    from glassplate.flows.jobs.job import read_job

    def read(text="", *, recipe="recipe: identity"):
        (night / "job.yaml").write_text(
            f"inputs: in\noutput: out\n{recipe}\npool: inline\n{text}\n"
        )
        return read_job(night / "job.yaml")

    return read


def run_id(store):
    return json.loads((store / "provenance" / "manifest.json").read_text())["run_id"]


class TestASecondRun:
    def test_reads_no_file_whose_result_is_there(self, run, job_of, night, monkeypatch):
        job = job_of("export: auto")
        (night / "in" / "bad.fits").write_text("no FITS\n" * 400)
        first = run(job)
        assert check_sums(first, job) == {"done": 3, "quarantined": 1}
        assert first.exit_code == 3

        def reads(*_):
            raise AssertionError("a file was read")

        monkeypatch.setattr(identity, "sha256_of", reads)
        # the checksums of all results cost 6 ms an image, half of the time of a run without work
        monkeypatch.setattr("glassplate.flows.jobs.running.settled.check_undamaged", reads)
        again = run(job)
        assert run.worked_on == []
        assert check_sums(again, job) == {"skipped": 3, "quarantined": 1}
        lines = lines_of(job)
        assert lines["a.fits"]["status"] == "done before"
        assert lines["a.fits"]["versions"]["glassplate"]
        assert len(lines["a.fits"]["inputs"][str(night / "in" / "a.fits")]["sha256"]) == 64
        assert lines["bad.fits"]["remedy"].startswith("replace the file")

    def test_reads_a_file_that_was_touched_and_does_not_restore_it(self, run, job_of, night):
        job = job_of()
        run(job)
        made = run_id(job.output / "a.zarr")
        os.utime(night / "in" / "a.fits")
        report = run(job)
        assert (run.worked_on, check_sums(report, job)) == ([], {"skipped": 3})
        assert run_id(job.output / "a.zarr") == made

    def test_finds_results_of_which_there_is_no_account(self, run, job_of):
        job = job_of()
        run(job)
        (job.output / "job.jsonl").unlink()
        report = run(job)
        assert (run.worked_on, check_sums(report, job)) == ([], {"skipped": 3})

    def test_notices_a_damaged_result_and_writes_an_export_again(self, run, job_of, night):
        job = job_of("export: auto")
        run(job)
        whole = (job.output / "a.fits").read_bytes()
        shutil.rmtree(job.output / "a.zarr" / "0" / "c")
        (job.output / "b.fits").unlink()
        report = run(job)
        assert run.worked_on == ["b.fits"]
        assert check_sums(report, job) == {"skipped": 2, "quarantined": 1}
        assert "is damaged, 1 file(s) missing" in lines_of(job)["a.fits"]["reason"]
        assert (job.output / "a.fits").read_bytes() == whole, "it was overwritten with NaN"
        assert (job.output / "b.fits").is_file()
        run(job)
        assert run.worked_on == []

    def test_does_not_take_the_exports_below_its_inputs_for_inputs(self, run, job_of, night):
        # the second run ended with exit code 2
        job = job_of("export: auto")
        below = {"path": "in/**/*.fits"}
        job = job.model_copy(
            update={
                "inputs": (job.inputs[0].model_copy(update=below),),
                "output": night / "in" / "restored",
            }
        )
        job.output.mkdir()
        assert check_sums(run(job), job) == {"done": 3}
        assert (job.output / "a.fits").is_file()
        report = run(job)
        assert (run.worked_on, report.exit_code) == ([], 0)
        assert check_sums(report, job) == {"skipped": 3}

    @pytest.mark.parametrize("name", [b"a\xff.fits", b"a\nb.fits"])
    def test_skips_a_file_whose_name_is_no_text(self, run, job_of, night, name):
        for path in (night / "in").iterdir():
            path.rename(path.with_name(os.fsdecode(name)))
        job = job_of("export: auto")
        assert check_sums(run(job), job) == {"done": 1}
        assert (job.output / os.fsdecode(name)).is_file()
        assert check_sums(run(job), job) == {"skipped": 1}

    def test_drops_the_lines_of_images_that_are_gone_and_keeps_those_of_other_jobs(
        self, run, job_of, night
    ):
        job = job_of()
        run(job)
        other = job.model_copy(update={"name": "other", "inputs": job_of().inputs})
        (night / "in" / "a.fits").unlink()
        (night / "in" / "b.fits").rename(night / "in" / "d.fits")
        report = run(job)
        assert set(lines_of(job)) == {"c.fits", "d.fits"}
        assert check_sums(report, job) == {"done": 1, "skipped": 1}
        assert run(other).sums()["skipped"] == 2
        assert set(lines_of(job)) == {"c.fits", "d.fits"}


class TestFailures:
    def test_a_lasting_one_is_not_tried_again_until_its_file_changes(
        self, run, job_of, night, make_sky
    ):
        bad = night / "in" / "bad.fits"
        bad.write_text("no FITS\n" * 400)
        job = job_of()
        run(job)
        assert "bad.fits" in run.worked_on
        since = lines_of(job)["bad.fits"]["ended"]
        report = run(job)
        assert (run.worked_on, report.exit_code) == ([], 3)
        assert lines_of(job)["bad.fits"]["ended"] == since
        run(job, retry_failed=True)
        assert run.worked_on == ["bad.fits"]
        bad.unlink()
        make_sky(bad, seed=9)
        assert check_sums(run(job), job) == {"done": 1, "skipped": 3}

    def test_or_its_recipe_changes(self, run, job_of, night):
        job = job_of("mask: 'in/none-{stem}.fits'")
        assert check_sums(run(job), job) == {"quarantined": 3}
        assert run(job).exit_code == 1
        assert run.worked_on == []
        run(job_of())
        assert len(run.worked_on) == 3

    def test_a_passing_one_is_tried_again_and_never_lasts(self, run, job_of):
        gone = PassingError("pool: all its workers are gone")
        job = job_of()
        run.faults["b.fits"] = [gone]
        report = run(job)
        assert run.worked_on == ["a.fits", "b.fits", "c.fits", "b.fits"]
        assert check_sums(report, job) == {"done": 3}
        shutil.rmtree(job.output)
        run.faults["b.fits"] = [gone] * 20
        for _ in range(5):
            report = run(job)
            assert run.worked_on.count("b.fits") == 2
            assert check_sums(report, job)["pending"] == 1
        assert report.exit_code == 3
        line = lines_of(job)["b.fits"]
        assert (line["state"], line["reason"]) == ("pending", "pool: all its workers are gone")
        assert "the next run tries again" in line["remedy"]

    def test_an_unknown_one_is_tried_in_three_runs(self, run, job_of):
        job = job_of()
        run.faults["b.fits"] = [ZeroDivisionError("of a library")] * 9
        attempts = []
        for _ in range(5):
            report = run(job)
            attempts.append(run.worked_on.count("b.fits"))
        assert attempts == [1, 1, 1, 0, 0]
        assert check_sums(report, job) == {"skipped": 2, "quarantined": 1}

    def test_a_full_disk_ends_the_job_and_nothing_is_quarantined(self, run, job_of):
        job = job_of()
        run.faults["b.fits"] = [DiskFullError("out: disk full")]
        report = run(job)
        assert run.worked_on == ["a.fits", "b.fits"]
        assert check_sums(report, job) == {"done": 1, "pending": 2}
        assert "the disk was full" in lines_of(job)["c.fits"]["reason"]
        assert check_sums(run(job), job) == {"done": 2, "skipped": 1}


class TestChanged:
    """The recipe, an input or the software is another than that of a complete result."""

    @pytest.fixture
    def night(self, night):
        for name in "bc":
            (night / "in" / f"{name}.fits").unlink()
        return night

    def test_software_counts_as_done(self, run, job_of, monkeypatch):
        # a new torch set all images aside, with the advice to give the command again
        job = job_of()
        run(job)
        newer = {"glassplate": "9", "torch": "9", "numpy": "9"}
        for module in (identity, settled):
            monkeypatch.setattr(module, "software_versions", lambda: newer)
        assert check_sums(run(job), job) == {"skipped": 1}
        (job.output / "job.jsonl").unlink()
        assert check_sums(run(job), job) == {"skipped": 1}
        assert run.worked_on == []

    def test_recipe_is_skipped_by_default_and_said(self, run, job_of):
        run(job_of())
        job = job_of("set: {tiles.halo: 4}")
        for _ in range(2):
            report = run(job)
            assert (run.worked_on, report.exit_code) == ([], 0)
            assert check_sums(report, job) == {"skipped": 1}
        line = lines_of(job)["a.fits"]
        assert line["status"] == "changed"
        assert "made with another recipe (tiles.halo was" in line["reason"]
        assert "changed: redo or changed: keep-both" in line["remedy"]
        assert check_sums(run(job_of()), job) == {"skipped": 1}

    def test_recipe_is_redone(self, run, job_of):
        job = job_of("export: auto")
        run(job)
        made = run_id(job.output / "a.zarr")
        job = job_of("set: {tiles.halo: 4}\nchanged: redo\nexport: auto")
        assert check_sums(run(job), job) == {"done": 1}
        assert run_id(job.output / "a.zarr") != made
        assert [path for path in job.output.iterdir() if ".before" in path.name] == []
        assert fits.getheader(job.output / "a.fits")["GPRUNID"] == run_id(job.output / "a.zarr")
        assert check_sums(run(job), job) == {"skipped": 1}

    def test_result_is_put_back_if_the_new_one_cannot_be_made(
        self, run, job_of, night, monkeypatch
    ):
        job = job_of()
        run(job)
        made = run_id(job.output / "a.zarr")
        real = restoring.restore_tiles

        def fail(one):
            real(one)
            raise ValueError("after the tiles")

        monkeypatch.setattr(restoring, "restore_tiles", fail)
        job = job_of("set: {tiles.halo: 4}\nchanged: redo")
        assert check_sums(run(job), job) == {"quarantined": 1}
        assert run_id(job.output / "a.zarr") == made
        assert [path.name for path in job.output.iterdir() if path.name.startswith(".a")] == []

    def test_recipe_makes_a_further_result(self, run, job_of):
        job = job_of()
        run(job)
        made = run_id(job.output / "a.zarr")
        more = job_of("set: {tiles.halo: 4}\nchanged: keep-both\nexport: auto")
        assert check_sums(run(more), more) == {"done": 1}
        assert (job.output / "a.v2.fits").is_file()
        assert run_id(job.output / "a.zarr") == made
        assert lines_of(more)["a.fits"]["result"] == "a.v2.zarr"
        assert check_sums(run(more), more) == {"skipped": 1}
        (job.output / "job.jsonl").unlink()
        assert check_sums(run(more), more) == {"skipped": 1}
        third = job_of("set: {tiles.halo: 5}\nchanged: keep-both")
        run(third)
        assert {path.name for path in job.output.glob("a*.zarr")} == {
            "a.zarr",
            "a.v2.zarr",
            "a.v3.zarr",
        }

    @pytest.mark.parametrize("policy", ["skip", "redo"])
    def test_input(self, run, job_of, night, make_sky, policy):
        job = job_of(f"changed: {policy}")
        run(job)
        (night / "in" / "a.fits").unlink()
        make_sky(night / "in" / "a.fits", seed=7)
        report = run(job)
        counts = {"skipped": 1} if policy == "skip" else {"done": 1}
        assert check_sums(report, job) == counts
        level = zarr.open_group(job.output / "a.zarr")["0"][...]
        same = np.array_equal(level, fits.getdata(night / "in" / "a.fits"), equal_nan=True)
        assert same == (policy == "redo")
        if policy == "skip":
            assert "made from another source" in lines_of(job)["a.fits"]["reason"]

    @pytest.mark.parametrize("times", [1, 2])
    def test_input_while_it_is_restored(self, run, job_of, night, make_sky, monkeypatch, times):
        """It was set aside, with the advice to replace the file that had just been replaced."""
        real, seeds = restoring.restore_tiles, iter(range(5, 5 + times))

        def change(one):
            real(one)
            for seed in itertools.islice(seeds, 1):
                make_sky(night / "new.fits", seed=seed).replace(night / "in" / "a.fits")

        monkeypatch.setattr(restoring, "restore_tiles", change)
        job = job_of("export: auto")
        report = run(job)
        assert run.worked_on == ["a.fits"] * 2
        assert check_sums(report, job) == {"done" if times == 1 else "pending": 1}
        if times == 2:
            line = lines_of(job)["a.fits"]
            assert "a.fits: has changed while it was being restored" in line["reason"]
            assert line["remedy"] == "none: the next run begins anew with what the file holds then"
            assert report.exit_code == 1
            assert not (job.output / "a.fits").exists()
            assert check_sums(run(job), job) == {"done": 1}
        exported, given = (fits.getdata(night / name / "a.fits") for name in ("out", "in"))
        np.testing.assert_array_equal(exported, given)

    def test_result_that_is_not_finished_is_begun_anew(self, run, job_of, monkeypatch):
        job = job_of()
        with monkeypatch.context() as patch:
            patch.setattr(
                restoring, "write_levels", lambda run: (_ for _ in ()).throw(MemoryError())
            )
            run(job)
        assert lines_of(job)["a.fits"]["state"] == "pending"
        begun = run_id(job.output / "a.zarr")
        other = job_of("set: {tiles.halo: 4}")
        assert check_sums(run(other), other) == {"done": 1}
        assert run_id(job.output / "a.zarr") != begun


class TestSteps:
    STEPS = "steps: [{recipe: identity}, {recipe: identity, set: {tiles.halo: 4}}]"

    def test_each_reads_the_result_of_the_one_before(self, run, job_of, night):
        job = job_of("export: auto\ninclude: a.fits", recipe=self.STEPS)
        assert check_sums(run(job), job) == {"done": 1}
        names = {path.name for path in job.output.glob("a*")}
        assert names == {"a.step1.zarr", "a.step1.fits", "a.zarr", "a.fits"}
        manifest = json.loads((job.output / "a.zarr/provenance/manifest.json").read_text())
        assert manifest["identity"]["source"]["path"].endswith("out/a.step1.fits")
        made = fits.getdata(job.output / "a.fits")
        np.testing.assert_array_equal(made, fits.getdata(night / "in" / "a.fits"))
        assert check_sums(run(job), job) == {"skipped": 1}
        assert run.worked_on == []
        (job.output / "job.jsonl").unlink()
        assert (check_sums(run(job), job), run.worked_on) == ({"skipped": 1}, [])


class TestLimits:
    def test_images(self, run, job_of):
        job = job_of("limits: {images: 2}")
        report = run(job)
        assert check_sums(report, job) == {"done": 2, "pending": 1}
        assert report.exit_code == 3
        assert lines_of(job)["c.fits"]["reason"] == "limits.images, 2 images, is reached"
        assert check_sums(run(job), job) == {"done": 1, "skipped": 2}

    def test_failures(self, run, job_of, night):
        for name in "ab":
            (night / "in" / f"{name}.fits").write_text("no FITS\n" * 400)
        job = job_of("limits: {failures: 1}")
        assert check_sums(run(job), job) == {"quarantined": 1, "pending": 2}
        assert check_sums(run(job), job) == {"quarantined": 2, "pending": 1}
        assert check_sums(run(job), job) == {"quarantined": 2, "done": 1}

    def test_hours(self, job_of):
        clock = iter(np.arange(0, 1e9, 0.6 * 3600))
        run = JobRunner(clock=lambda: next(clock))
        job = job_of("limits: {hours: 1}")
        report = run(job)
        assert check_sums(report, job) == {"pending": 3}
        assert "limits.hours, 1 h 0 min, is over" in lines_of(job)["c.fits"]["reason"]

    def test_seconds_of_an_image(self, job_of):
        clock = iter(np.arange(0, 1e9, 20))
        run = JobRunner(clock=lambda: next(clock))
        job = job_of("limits: {image_seconds: 30}")
        assert check_sums(run(job), job) == {"pending": 3}
        assert "took longer than limits.image_seconds, 30 s" in lines_of(job)["a.fits"]["reason"]
        run = JobRunner()
        assert check_sums(run(job), job) == {"done": 3}

    def test_free_disk(self, run, job_of):
        job = job_of("limits: {free_disk: 900000 TB}")
        assert check_sums(run(job), job) == {"pending": 3}
        assert run.worked_on == []
        assert "less than limits.free_disk" in lines_of(job)["a.fits"]["reason"]


def test_a_run_that_is_interrupted_has_its_images_in_the_account(run, job_of):
    job = job_of()
    run.faults["b.fits"] = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        run(job)
    states = {name: line["state"] for name, line in lines_of(job).items()}
    assert states == {"a.fits": "done", "b.fits": "pending", "c.fits": "pending"}
    assert lines_of(job)["c.fits"]["reason"] == "the run was interrupted"


def test_images_in_flight_together_have_the_bytes_of_images_one_by_one(
    job_of, night, make_sky, monkeypatch
):
    for seed in range(3, 6):
        make_sky(night / "in" / f"{seed}.fits", seed=seed)
    (night / "in" / "bad.fits").write_text("no FITS\n" * 400)
    (night / "in" / "4-warned.fits").write_bytes(odd_header(night / "in" / "4.fits"))
    job = job_of("set: {tiles.core: 32}")
    states, files = [], []
    for pool in ("inline", "local"):
        report = JobRunner(pool=pool)(job)
        states.append(check_sums(report, job))
        pixels = sorted(job.output.glob("*.zarr/[0-9r]*/**/[0-9]*"))
        files.append({str(path): path.read_bytes() for path in pixels if path.is_file()})
        metadata = {path: path.read_text() for path in sorted(job.output.glob("*.zarr/zarr.json"))}
        files[-1] |= {str(path): without_ids(text) for path, text in metadata.items()}
        shutil.rmtree(job.output)
    assert states == [{"done": 7, "quarantined": 1}] * 2
    assert files[0] == files[1]
    assert len(files[0]) == 7 * 3


def odd_header(path):
    """The content of a FITS file with a card of which astropy warns."""
    return path.read_bytes().replace(b"BUNIT   = 'adu     '", b"BUNIT   = 'a/b/c/d '", 1)


def without_ids(text):
    """The attributes of a result without what differs from run to run."""
    ids = r'"[0-9a-f]{32}"|"[0-9a-f-]{36}"|"20[0-9T:+.-]{17,30}"|"fit_seconds": [0-9.]+'
    return re.sub(ids, '""', text)


def test_a_file_that_keeps_growing_is_pending_and_restored_by_the_next_run(
    run, job_of, night, monkeypatch
):
    monkeypatch.setattr(arriving, "is_arriving", lambda path: path.name == "b.fits")
    monkeypatch.setattr(arriving, "PATIENCE_S", 0.0)
    job = job_of()
    assert check_sums(run(job), job) == {"done": 2, "pending": 1}
    assert run.worked_on == ["a.fits", "c.fits"]
    assert lines_of(job)["b.fits"]["reason"] == "is still being written"
    monkeypatch.setattr(arriving, "is_arriving", lambda path: False)
    assert check_sums(run(job), job) == {"done": 1, "skipped": 2}


def test_the_joint_export_of_a_second_run_is_left_alone(run, job_of, night, monkeypatch):
    sky = fits.getdata(night / "in" / "a.fits")
    parts = [fits.ImageHDU(sky + n, name=f"C{n}") for n in (1, 2)]
    fits.HDUList([fits.PrimaryHDU(), *parts]).writeto(night / "in" / "chips.fits")
    job = job_of("export: auto\nhdu: all\ninclude: chips.fits")
    assert check_sums_of_parts(run(job)) == {"done": 2}
    made = (job.output / "chips.fits").read_bytes()
    monkeypatch.setattr(identity, "sha256_of", None)
    assert check_sums_of_parts(run(job)) == {"skipped": 2}
    assert (job.output / "chips.fits").read_bytes() == made
    monkeypatch.undo()
    (job.output / "chips.fits").unlink()
    run(job)
    assert (job.output / "chips.fits").is_file()


def check_sums_of_parts(report):
    return {state: count for state, count in report.sums().items() if count}


def test_a_run_writes_its_page_and_the_reports_that_are_asked_for(run, job_of, night):
    job = job_of("reports: [html, png]")
    report = run(job)
    assert report.page == str(night / "out" / "report.html")
    assert f"page    {report.page}" in report.text()
    assert 'href="a.report.html"' in (night / "out" / "report.html").read_text()
    assert (night / "out" / "a.report.png").is_file()
    again = job.model_copy(update={"inputs": (job.inputs[0].model_copy(update={"path": "."}),)})
    names = [image.spec.path.name for image in find_images(again).images]
    assert names == ["a.fits", "b.fits", "c.fits"], "pages and pictures are no inputs"
