"""`glassplate batch` without a server: what it refuses, and its dry run."""

import json
import re

import pytest


@pytest.fixture
def job(make_sky, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    make_sky(tmp_path / "in" / "a.fits")
    path = tmp_path / "job.yaml"
    path.write_text("inputs: in\noutput: out\nrecipe: identity\npool: inline\n")
    return path


@pytest.mark.slow
def test_a_dry_run_starts_no_server_and_writes_nothing(gp, job, monkeypatch):
    monkeypatch.setattr("glassplate.flows.server.server.prefect_api", None)
    run = gp("batch", job, "--dry-run")
    assert run.code == 0
    assert "a.fits: restore, identity" in run.out
    assert "1 image: 1 to restore" in run.out
    assert "disk    " in run.out
    assert not (job.parent / "out").exists()
    (line,) = gp("batch", job, "--dry-run", "--progress", "json").out.splitlines()
    plan = json.loads(line)
    assert plan["event"] == "JobPlan"
    assert [image["action"] for image in plan["images"]] == ["restore"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inputs: in\noutput: out\nsteps: [{recipe: drafft}]\n", "did you mean 'draft'"),
        ("inputs: {list: none.txt}\noutput: out\n", "list .*none.txt: No such file"),
        ("inputs: in\noutput: out\nlimits: {images: 0}\n", "limits.images is 0"),
        (
            "inputs: in\noutput: out\nlimits: {free_disk: much}\n",
            "expected an amount such as 20 GB",
        ),
        ("inputs: in\noutput: out\nlimits: {image: 3}\n", "did you mean 'images'"),
        ("inputs: in\noutput: out\nchanged: delete\n", "changed is 'delete'"),
        (
            "inputs: in\noutput: out\nrecipe: draft\nsteps: [{recipe: draft}]\n",
            "steps have recipes of their own; drop recipe and scale beside them",
        ),
        (
            "inputs: in\noutput: out\nsequence: true\nsteps: [{recipe: draft}]\n",
            "a sequence has one recipe",
        ),
    ],
)
def test_a_wrong_job_is_refused_in_one_line(gp, job, text, message):
    job.write_text(text)
    run = gp("batch", job)
    assert run.code == 2
    assert len(run.err.splitlines()) == 1
    assert re.search(message, run.err), run.err


def test_an_amount_of_disk_may_have_a_unit():
    from glassplate.flows.jobs.limits import Limits

    assert Limits(free_disk="20 GB").free_disk == 20 * 10**9
    assert Limits(free_disk="1.5tb").free_disk == 1.5e12
    assert Limits(free_disk=7).free_disk == 7
