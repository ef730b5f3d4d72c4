import pytest
from job_runs import JobRunner

from glassplate.flows.accounts import stamps
from glassplate.flows.jobs.images import find_images
from glassplate.flows.jobs.job import read_job
from glassplate.flows.jobs.running.dry_run import plan_job


@pytest.fixture
def job(make_sky, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for seed, name in enumerate("abcd"):
        make_sky(tmp_path / "in" / f"{name}.fits", seed=seed, shape=(40, 40 + 8 * seed))
    (tmp_path / "in" / "bad.fits").write_text("no FITS\n" * 9)
    (tmp_path / "in" / "link.fits").symlink_to("nowhere")
    (tmp_path / "job.yaml").write_text(
        "inputs: in\noutput: out\nrecipe: identity\npool: inline\nlimits: {images: 4}\n"
    )
    return read_job(tmp_path / "job.yaml")


@pytest.mark.slow
def test_a_plan_says_what_would_be_done_and_writes_nothing(job, tmp_path):
    plan = plan_job(job, find_images(job).images, retry_failed=False)
    actions = {image.source.rpartition("/")[2]: image.action for image in plan.images}
    assert actions == {
        "a.fits": "restore",
        "b.fits": "restore",
        "c.fits": "restore",
        "bad.fits": "quarantined",
        "link.fits": "quarantined",
        "d.fits": "pending",
    }
    assert not job.output.exists()
    assert plan.seconds > 0
    assert plan.disk_bytes > 0
    assert "3 to restore" in plan.text()
    assert "2 quarantined" in plan.text()
    assert "1 left to a later run" in plan.text()


@pytest.mark.slow
def test_what_is_done_and_what_failed_costs_nothing(job, monkeypatch):
    monkeypatch.setattr(stamps, "CLOCK_NS", 0)  # the files were written right before
    JobRunner()(job.model_copy(update={"limits": type(job.limits)()}))
    plan = plan_job(job, find_images(job).images, retry_failed=False)
    assert {image.action for image in plan.images} == {"skip", "quarantined"}
    assert (plan.seconds, plan.disk_bytes) == (0, 0)
    again = plan_job(job, find_images(job).images, retry_failed=True)
    assert [i.action for i in again.images if i.source.endswith("bad.fits")] == ["quarantined"]
