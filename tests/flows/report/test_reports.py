import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from manifests import summary

from glassplate.flows.report.job_report import JobReport
from glassplate.flows.report.reports import ImageReport
from glassplate.pipeline.run.restore import RunResult


def image(status, name="a"):
    reason = "x.fits: no | such file" if status == "quarantined" else ""
    return ImageReport(
        source=f"/in/{name}.fits",
        store=f"/out/{name}.zarr",
        status=status,
        reason=reason,
        tiles=4,
        noise_before=5.0,
        noise_after=1.25,
        unit="adu",
        iterations=412.4,
        stop_reasons={"heldout": 3, "cap": 1},
        seconds=65.0,
        exports=(f"/out/{name}.fits",),
    )


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        (["restored", "done before"], 0),
        (["restored", "quarantined"], 3),
        (["restored", "partial"], 3),
        (["partial"], 3),
        (["partial", "quarantined"], 3),
        (["quarantined", "quarantined"], 1),
        (["done before", "quarantined"], 3),
        ([], 0),
    ],
)
def test_exit_codes(statuses, code):
    assert JobReport(tuple(map(image, statuses)), 1.0).exit_code == code


def test_the_text_holds_status_noise_iterations_and_paths():
    text = image("restored").text()
    for words in (
        "a.fits: restored, 4 tiles, 1 min 5 s",
        "5 before, 1.25 adu after",
        "412 a tile",
        "heldout (3 tiles), cap (1 tile)",
        "/out/a.zarr",
        "/out/a.fits",
    ):
        assert words in text
    assert image("quarantined").text() == (
        "a.fits: quarantined\n  reason      x.fits: no | such file"
    )


def test_the_job_has_a_headline():
    report = JobReport((image("restored"), image("restored", "b"), image("quarantined", "c")), 90.0)
    assert report.headline() == "3 images: 2 restored, 1 quarantined; 1 min 30 s"
    assert report.text().splitlines()[-1] == report.headline()
    assert JobReport((), 1.0).headline() == "no images: nothing to do"
    assert JobReport((), 1.0).markdown() == "no images: nothing to do"


def test_the_table_has_a_row_per_image_even_with_bars_in_a_reason():
    lines = JobReport((image("restored"), image("quarantined", "b")), 9.0).markdown().splitlines()
    rows = lines[4:]
    assert len(rows) == 4
    cells = [row.replace("\\|", "").count("|") for row in rows]
    assert len(set(cells)) == 1


def test_a_report_is_json():
    report = JobReport((image("restored"), image("quarantined")), 9.0, left_out=("/in/b.fits",))
    values = json.loads(json.dumps(asdict(report)))
    assert [entry["status"] for entry in values["images"]] == ["restored", "quarantined"]
    assert (values["seconds"], values["left_out"]) == (9.0, ["/in/b.fits"])


def test_inputs_that_are_left_out_have_one_line():
    report = JobReport((image("restored"),), 9.0, left_out=("/out/b.fits", "/out/c.fits"))
    line = "2 inputs that glassplate made left out, such as /out/b.fits"
    assert report.text().splitlines()[-2] == line
    assert line in report.markdown()
    assert line in JobReport((), 1.0, left_out=report.left_out).markdown()


def test_two_images_of_one_file_are_told_apart():
    result = RunResult(Path("/o/a-SCI.zarr"), "complete", 4, 4, 0, False, 3.0, summary())
    report = ImageReport.from_result(Path("/in/a.fits"), result, "SCI")
    assert report.text().startswith("a.fits[SCI]: restored")
    assert report.row()["image"] == "a.fits[SCI]"


def test_a_file_name_of_any_bytes_can_be_printed():
    # bytes that are no UTF-8, and a newline, ended in a UnicodeEncodeError after all the work
    path = Path(os.fsdecode(b"/in/a\xff\n\xc3\xa9.fits"))
    result = RunResult(path.with_suffix(".zarr"), "complete", 4, 4, 0, False, 3.0, summary())
    report = ImageReport.from_result(path, result)
    assert report.text().splitlines()[0].startswith("a\\udcff\\né.fits: restored")
    for text in (report.text(), JobReport((report,), 1.0).markdown(), json.dumps(asdict(report))):
        text.encode("utf-8")


@pytest.mark.parametrize(
    ("status", "already", "expected"),
    [
        ("complete", False, "restored"),
        ("complete", True, "done before"),
        ("partial", False, "partial"),
    ],
)
def test_a_report_of_a_run(status, already, expected):
    said = summary(noise_before=2.0, noise_after=None, iterations=0.0)
    export = Path("/o/a.fits")
    result = RunResult(Path("/o/a.zarr"), status, 4, 4, 0, already, 3.0, said, export)
    report = ImageReport.from_result(Path("/in/a.fits"), result)
    assert (report.status, report.exports) == (expected, ("/o/a.fits",))
    assert "2 before, unknown after" in report.text()
    assert "iterations" not in report.text()


def test_every_input_has_one_state():
    statuses = ["restored", "done before", "changed", "partial", "quarantined", "pending"]
    report = JobReport(tuple(image(status) for status in statuses), 9.0, account="/o/job.jsonl")
    line = "6 inputs = 1 done + 2 skipped + 2 quarantined + 1 pending"
    assert report.account_line() == line
    assert line in report.text()
    assert line in report.markdown()
    assert sum(report.sums().values()) == 6
    assert report.exit_code == 3


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        (["changed", "done before"], 0),
        (["restored", "pending"], 3),
        (["pending", "quarantined"], 1),
        (["pending"], 1),
    ],
)
def test_exit_codes_of_images_that_are_not_restored(statuses, code):
    assert JobReport(tuple(map(image, statuses)), 1.0).exit_code == code


def test_a_report_of_thousands_stays_short():
    many = [image("done before", f"d{n}") for n in range(3000)]
    many += [image("quarantined", f"q{n}") for n in range(30)]
    report = JobReport((*many, image("restored", "new")), 9.0, account="/o/job.jsonl")
    text = report.text()
    assert "2980 further images done before" in text
    assert "10 further images quarantined" in text
    assert "new.fits: restored" in text
    assert len(report.markdown().splitlines()) < 50
    assert "3000 further images; /o/job.jsonl has a line for each" in report.markdown()
    brief = report.text(brief=True)
    assert "new.fits" not in brief
    assert "q0.fits: quarantined" in brief


def test_a_tile_that_may_still_be_restored_leaves_an_image_pending():
    said = summary(quarantined={"3": "its worker died"})
    result = RunResult(Path("/o/a.zarr"), "partial", 4, 3, 1, False, 3.0, said, passing=True)
    assert (
        replace(ImageReport.from_result(Path("/in/a.fits"), result), passing=True).state
        == "pending"
    )
    assert ImageReport.from_result(Path("/in/a.fits"), result).state == "quarantined"
