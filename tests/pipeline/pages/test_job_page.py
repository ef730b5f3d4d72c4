"""The page of a job: every image is in it once, totals add up, and links lead somewhere."""

import json
import re
import shutil

import numpy as np
import pytest
from assessed import edit_manifest
from shown_pages import Page

from glassplate.pipeline.errors import StoreError, UsageError
from glassplate.pipeline.pages import job_page
from glassplate.pipeline.pages.job_page import write_job_page, write_pages
from glassplate.pipeline.pages.job_rows import job_rows, totals
from glassplate.pipeline.pages.result_page import page_of, write_result_page

LINE = {"image": "/data/a.fits", "name": "a.zarr", "result": "a.zarr", "state": "pending"}


def write_account(folder, *lines):
    (folder / "job.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def job(sky_result, photo_result, tmp_path):
    """The folder of a job: two results, one of them deeper, a failure, and one that is not begun."""
    folder = tmp_path / "job"
    shutil.copytree(sky_result, folder / "sky.zarr")
    shutil.copytree(photo_result, folder / "night" / "photo.zarr")
    write_account(
        folder,
        {**LINE, "image": "/data/sky.fits", "name": "sky.zarr", "result": "sky.zarr"},
        {
            **LINE,
            "image": "/data/bad.fits",
            "part": "SCI,2",
            "name": "bad.zarr",
            "result": "bad.zarr",
            "state": "quarantined",
            "reason": "<b>truncated</b>",
            "remedy": "fetch it again",
            "a key of a later release": 1,
        },
        {
            **LINE,
            "image": "/data/sky.fits",
            "name": "sky.zarr",
            "result": "sky.zarr",
            "state": "done",
            "status": "restored",
            "seconds": 3.5,
        },
        {**LINE, "image": "/data/later.fits", "name": "later.zarr", "result": "later.zarr"},
    )
    with (folder / "job.jsonl").open("a") as file:
        file.write('{"image": "cut')
    return folder


def test_every_image_counts_once_and_its_last_line_counts(job):
    rows = job_rows(job)
    assert [row.label for row in rows] == ["sky.fits", "bad.fits[SCI,2]", "later.fits", "photo.tif"]
    assert totals(rows) == {"done": 2, "skipped": 0, "quarantined": 1, "pending": 1}


def test_the_page_has_reasons_remedies_pictures_and_sums(job):
    page = Page(write_job_page(job))
    for words in (
        "4 images",
        "4 inputs =",
        "2 done",
        "1 quarantined",
        "1 pending",
        "fetch it again",
    ):
        assert words in page.text
    assert "<b>truncated</b>" in page.text
    assert {"sky.fits", "photo.tif"} == set(page.pictures)
    assert max(page.pictures["sky.fits"].shape[:2]) <= 96
    assert page.open_tags == []
    assert [one for one in page.addresses if not one.startswith("data:")] == []


def test_links_lead_to_the_pages_that_are_there(job):
    write_result_page(job / "sky.zarr")
    page = Page(write_job_page(job))
    links = [one for one in page.addresses if not one.startswith("data:")]
    assert links == ["sky.report.html"]
    assert (job / links[0]).is_file()


def test_pages_are_written_once(job):
    made = list(write_pages(job))
    assert sorted(made) == sorted([page_of(job / "sky.zarr"), page_of(job / "night/photo.zarr")])
    assert list(write_pages(job)) == []
    links = re.findall(r'href="([^"]+html)"', write_job_page(job).read_text())
    assert sorted(links) == ["night/photo.report.html", "sky.report.html"]


def test_a_damaged_result_does_not_keep_the_others_from_their_pages(job):
    shutil.rmtree(job / "sky.zarr/quality")
    failed, written = list(write_pages(job))
    assert isinstance(failed, StoreError)
    assert "quality are missing" in str(failed)
    assert written == page_of(job / "night/photo.zarr")


def test_without_an_account_the_results_tell(job):
    (job / "job.jsonl").unlink()

    def partial(manifest):
        manifest["status"] = "partial"
        manifest["summary"]["quarantined"] = {"4": "out of memory"}

    edit_manifest(job / "sky.zarr", partial)
    (job / "night/photo.zarr/provenance/manifest.json").write_text("{")
    rows = {row.label: row for row in job_rows(job)}
    assert rows["sky.fits"].state == "quarantined"
    assert "1 of 6 tiles" in rows["sky.fits"].reason
    assert rows["photo.zarr"].state == "pending"
    assert "damaged" in rows["photo.zarr"].reason
    assert "no account" in Page(write_job_page(job)).text


@pytest.mark.parametrize("name", ["", "missing"])
def test_a_folder_without_anything_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match=r"no such folder|holds no result"):
        write_job_page(tmp_path / name)


def test_the_page_of_another_is_left_alone(job):
    (job / "report.html").write_text("mine")
    with pytest.raises(UsageError, match="--overwrite"):
        write_job_page(job)


def test_a_picture_is_drawn_again_only_if_its_result_has_changed(job, monkeypatch):
    before = Page(write_job_page(job)).pictures
    drawn, thumbnail = [], job_page._thumbnail

    def noted(row):
        drawn.append(row.label)
        return thumbnail(row)

    monkeypatch.setattr(job_page, "_thumbnail", noted)
    edit_manifest(job / "night/photo.zarr", lambda manifest: None)
    after = Page(write_job_page(job)).pictures
    assert set(drawn) == {"photo.tif", "bad.fits[SCI,2]", "later.fits"}
    np.testing.assert_array_equal(before["sky.fits"], after["sky.fits"])


def test_a_result_with_damaged_pixels_keeps_its_line(job):
    for chunk in (job / "sky.zarr").glob("[0-9]*/**/*"):
        if chunk.is_file() and chunk.name != "zarr.json":
            chunk.write_bytes(b"damaged" * 100)
    page = Page(write_job_page(job))
    assert "sky.fits" in page.text
    assert "sky.fits" not in page.pictures
