import json
import logging
from pathlib import Path

import pytest

from glassplate.flows.report.job_log import log_path, open_log
from glassplate.pipeline.events import RunStarted, TileDone, Warned

STORE = Path("/out/a.zarr")


def write(path, form, level):
    with open_log(path, form, level, "run-1") as log:
        log.write(logging.INFO, "begins\nhere")
        log.event("a.fits", RunStarted(Path("a.fits"), STORE, 4, 1))
        log.event("a.fits", TileDone(STORE, 2, True, 80, "heldout", 1.5))
        log.event("a.fits", TileDone(STORE, 3, False, 0, "diverged", 1.0))
        log.event("a.fits", Warned(STORE, "odd"))
    return path.read_text().splitlines()


def test_lines_have_a_time_a_level_and_the_image(tmp_path):
    lines = write(tmp_path / "out" / "job.log", "text", "info")
    assert [line.split(None, 1)[1] for line in lines] == [
        "INFO    begins\\nhere",
        "INFO    a.fits: 4 tiles, 1 done before",
        "WARNING a.fits: tile 3 failed: diverged",
        "WARNING a.fits: odd",
    ]
    assert len(write(tmp_path / "out" / "job.log", "text", "info")) == 8, "runs are appended"


def test_json_lines_have_the_tile_and_the_run(tmp_path):
    documents = [json.loads(line) for line in write(tmp_path / "job.log", "json", "debug")]
    assert [d["level"] for d in documents] == ["info", "info", "debug", "warning", "warning"]
    assert documents[3]["tile"] == 3
    assert {d["run"] for d in documents} == {"run-1"}
    assert all("T" in d["time"] and d["message"] for d in documents)


@pytest.mark.parametrize(
    ("job", "name"),
    [
        ("night", "night.log"),
        ("../../etc/x", "_.._etc_x.log"),
        ("a b/c", "a_b_c.log"),
        ("..", "job.log"),
    ],
)
def test_a_log_lies_in_the_output_folder_whatever_the_job_is_called(tmp_path, job, name):
    assert log_path(tmp_path, job) == tmp_path / name


def test_a_log_that_cannot_be_written_stops_no_job(tmp_path):
    (tmp_path / "file").write_text("")
    with open_log(tmp_path / "file" / "job.log", "text", "info", "") as log:
        log.write(logging.INFO, "nothing")
        assert log.path is None
