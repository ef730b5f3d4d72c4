"""Whatever images, jobs and headers are called, a job writes into its folder, and shows no secret."""

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassplate.flows.jobs.images import find_images
from glassplate.flows.jobs.job import Job
from glassplate.flows.report.job_log import log_path, open_log
from glassplate.pipeline.errors import PassingError
from glassplate.pipeline.text import one_line, without_secrets

# What a file may be called: anything but a slash and NUL. Dots, newlines and signs are more frequent here.
PARTS = st.text(
    st.one_of(
        st.sampled_from("../~ $*\\\n-:"), st.characters(codec="utf-8", exclude_characters="\0")
    ),
    min_size=1,
    max_size=20,
)
NAMES = PARTS.map(lambda text: text.replace("/", "")).filter(
    lambda text: text not in ("", ".", "..")
)

OUTPUT = Path("/data/restored")


def lies_in(path, folder):
    """Whether a path lies below a folder, whatever dots it has."""
    return Path(folder) in Path(str(path)).parents and ".." not in Path(path).parts


@given(NAMES, st.none() | NAMES, st.sampled_from(["fits", "tif", "auto"]))
def test_results_and_exports_stay_in_the_output_folder(file, name, export):
    entry = {"path": f"/elsewhere/{file}", "name": name, "export": export}
    found = find_images(Job(inputs=[entry], output=OUTPUT))
    for image in found.images:
        exports = [image.export_path(is_fits=is_fits) for is_fits in (True, False)]
        assert all(lies_in(path, OUTPUT) for path in [*image.stores, *exports])


@given(PARTS)
def test_the_log_of_a_job_stays_in_the_output_folder(job):
    assert log_path(OUTPUT, job).parent == OUTPUT


SECRETS = [
    ("http://user:hunter2@prefect.example/api", "http://***@prefect.example/api"),
    ("s3://KEY:hunter2@bucket/a.fits", "s3://***@bucket/a.fits"),
    ("https://h/a?X-Amz-Signature=hunter2&x=1", "https://h/a?X-Amz-Signature=***&x=1"),
    ("https://h/a?api_token=hunter2", "https://h/a?api_token=***"),
    ("for AKIAHUNTER2HUNTER200.", "for ***."),
    ("/data/a.fits: HDU 1 @ 3:4", "/data/a.fits: HDU 1 @ 3:4"),
]


@pytest.mark.parametrize(("text", "shown"), SECRETS)
def test_secrets_are_not_shown(text, shown, tmp_path):
    assert without_secrets(text) == shown
    assert one_line(PassingError(text)) == shown
    with open_log(tmp_path / "job.log", "json", "info", "run") as log:
        log.write(logging.INFO, text)
    assert "hunter2" not in (tmp_path / "job.log").read_text().lower()
