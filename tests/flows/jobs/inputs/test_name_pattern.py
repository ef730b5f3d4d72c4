import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from glassplate.flows.jobs.images import find_images
from glassplate.flows.jobs.inputs.name_pattern import check_name_pattern, name_from
from glassplate.pipeline.errors import UsageError


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{stem}", "m31"),
        ("{OBJECT}/{stem}-{FILTER}", "M_31/m31-r"),
        ("night-{folder}/{stem}", "night-2026/m31"),
        ("{EXPTIME}s", "30.0s"),
        ("{DATE-OBS}", "2026-11-30T02_00_00"),
    ],
)
def test_names(pattern, name):
    header = {"OBJECT": "M 31", "FILTER": "r", "EXPTIME": 30.0, "DATE-OBS": "2026-11-30T02:00:00"}
    check_name_pattern(pattern)
    assert name_from(pattern, Path("/data/2026/m31.fits"), "m31", header) == name


@given(value=st.text(), stem=st.text(min_size=1))
def test_a_name_never_leaves_the_output_folder(value, stem):
    try:
        name = name_from("{OBJECT}/x/{stem}", Path("a.fits"), stem, {"OBJECT": value})
    except UsageError:
        return
    parts = name.split("/")
    assert len(parts) == 3
    assert not {"", ".", ".."} & set(parts)
    assert all(len(part.encode("utf-8", "surrogateescape")) <= 200 for part in parts)
    assert not re.search(r"[\x00-\x1f\\]", name)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("../{stem}", "is no name inside the output folder"),
        ("a/../../{stem}", "is no name inside"),
        ("/data/{stem}", "is no name inside"),
        ("~/x", "is no name inside"),
        ("{stem}/", "is no name inside"),
        ("", "is no name inside"),
        ("{object}", r"\{object\} is unknown; known are \{stem\}, \{folder\} and"),
    ],
)
def test_a_wrong_pattern_is_refused(job_of, pattern, message):
    with pytest.raises(UsageError, match=message):
        job_of(f"inputs: in/a.fits\noutput: out\nresult: '{pattern}'\n")


class TestInAJob:
    @pytest.fixture
    def sky(self, folder):
        header = fits.Header({"OBJECT": "../../etc/x", "FILTER": "r"})
        fits.writeto(folder / "in" / "a.fits", np.ones((4, 5), "f4"), header, overwrite=True)
        fits.writeto(folder / "in" / "b.fits", np.ones((4, 5), "f4"), overwrite=True)
        return folder

    def test_names_follow_headers_and_stay_inside(self, sky, job_of):
        job = job_of("inputs: 'in/*.fits'\noutput: out\nresult: '{OBJECT}/{stem}-{FILTER}'\n")
        a, b = find_images(job).images
        assert job.output in a.store.resolve().parents
        assert a.store.relative_to(job.output).as_posix() == "_.._etc_x/a-r.zarr"
        assert re.search(r"b\.fits: has no keyword (FILTER|OBJECT), of which its name", b.fault)

    def test_the_name_of_an_entry_comes_first(self, sky, job_of):
        job = job_of("inputs: {path: in/b.fits, name: mine}\noutput: out\nresult: '{OBJECT}'\n")
        (image,) = find_images(job).images
        assert (image.store.name, image.fault) == ("mine.zarr", "")

    def test_two_images_of_one_name_are_both_refused(self, sky, job_of):
        images = find_images(job_of("inputs: 'in/*.fits'\noutput: out\nresult: same\n")).images
        assert all("would both become" in image.fault for image in images)
