import os
import socket

import pytest

from glassplate.flows.jobs.images import find_images
from glassplate.flows.jobs.inputs import folders


def found(job):
    """Paths of the images below the current folder, and the faults."""
    images = find_images(job).images
    return (
        [os.path.relpath(image.spec.path) for image in images if not image.fault],
        [image.fault for image in images if image.fault],
    )


class TestFolder:
    def test_stands_for_the_images_in_it_and_below(self, folder, job_of):
        for name in (
            "in/notes.txt",
            "in/night1/b.FITS.GZ",
            "in/.hidden.fits",
            "in/old.zarr/c.fits",
        ):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(b"SIMPLE  = ")
        job = job_of("inputs: in\noutput: out\n")
        names, faults = found(job)
        assert names == [
            "in/a.fits",
            "in/b.fits",
            "in/c.tif",
            "in/night1/a.fits",
            "in/night1/b.FITS.GZ",
            "in/night2/a.fits",
        ]
        assert faults == []
        result = find_images(job)
        stores = {str(image.store.relative_to(job.output)) for image in result.images}
        assert "night1/a.zarr" in stores, "folders are created again below the output"
        assert [path.name for path in result.others] == ["notes.txt"]

    @pytest.mark.parametrize(
        ("keys", "expected"),
        [
            ("include: '*.tif'", ["in/c.tif"]),
            ("include: ['b.*', '*.txt']", ["in/b.fits", "in/notes.txt"]),
            ("include: 'night*/*.fits'", ["in/night1/a.fits", "in/night2/a.fits"]),
            ("exclude: [night2, '*.tif']", ["in/a.fits", "in/b.fits", "in/night1/a.fits"]),
            ("exclude: [night1/a.fits, 'a.*', c.tif]", ["in/b.fits"]),
            ("{include: '*.fits', exclude: 'night?'}", ["in/a.fits", "in/b.fits"]),
        ],
    )
    def test_may_be_narrowed(self, folder, job_of, keys, expected):
        (folder / "in" / "notes.txt").write_text("n")
        of_job = keys.strip("{}").replace(", exclude", "\nexclude")
        assert found(job_of(f"inputs: in\noutput: out\n{of_job}\n"))[0] == expected
        of_entry = keys if keys.startswith("{") else f"{{{keys}}}"
        entry = f"inputs: {{path: in, {of_entry.strip('{}')}}}\noutput: out\nexclude: '*'\n"
        assert found(job_of(entry))[0] == expected, "an entry's own choice replaces that of the job"

    def test_that_links_to_itself_is_searched_once(self, folder, job_of):
        (folder / "in" / "night1" / "up").symlink_to("..")
        names, _ = found(job_of("inputs: in\noutput: out\n"))
        assert len(names) == 5

    def test_may_hold_the_output(self, folder, job_of):
        (folder / "in" / "out" / "a.zarr").mkdir(parents=True)
        names, _ = found(job_of("inputs: in\noutput: in/out\n"))
        assert len(names) == 5


def test_the_account_and_the_log_in_the_output_are_no_inputs(folder, job_of):
    (folder / "in" / "out").mkdir()
    for name in ("job.jsonl", "night.log", "raw.fits"):
        (folder / "in" / "out" / name).write_text("{}")
    for inputs in ("'in/**/*.*'", "in"):
        result = find_images(job_of(f"inputs: {inputs}\noutput: in/out\n"))
        names = [image.spec.path.name for image in result.images]
        assert "raw.fits" in names
        assert not {"job.jsonl", "night.log"} & set(names)
        assert result.left_out == result.others == ()


@pytest.mark.parametrize("inputs", ["in", "'in/*.fits'", "'in/**/*.fits'", "in/dangling.fits"])
def test_a_dangling_link_is_named(folder, job_of, inputs):
    # it was ignored without a word
    (folder / "in" / "dangling.fits").symlink_to("nowhere.fits")
    _, faults = found(job_of(f"inputs: {inputs}\noutput: out\n"))
    assert len(faults) == 1
    assert "dangling.fits: is a link to nowhere.fits, which does not exist; mend or" in faults[0]


@pytest.mark.parametrize("inputs", ["in", "'in/*.fits'", "in/pipe.fits"])
def test_pipes_and_sockets_are_images_that_cannot_be_restored(folder, job_of, inputs):
    os.mkfifo(folder / "in" / "pipe.fits")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("in/socket.fits")  # relative, because these names are short
        names, _ = found(job_of(f"inputs: {inputs}\noutput: out\n"))
    assert "in/pipe.fits" in names
    assert ("in/socket.fits" in names) == (inputs != "in/pipe.fits")


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ("in", True),
        ("'in/**/*.fits'", True),
        ("'in/night*/*.fits'", True),
        ("'in/*/a.fits'", True),
        ("'in/night2/*.fits'", False),
        ("'in/*.fits'", False),
    ],
)
def test_a_folder_that_cannot_be_read_is_named(folder, job_of, monkeypatch, inputs, named):
    real = os.scandir

    def scandir(path):
        if str(path).endswith("night1"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(folders.os, "scandir", scandir)
    _, faults = found(job_of(f"inputs: {inputs}\noutput: out\n"))
    expected = "in/night1: cannot be searched for images: permission denied"
    assert [fault.endswith(expected) for fault in faults] == [True] * named


def test_a_pattern_that_leads_upwards_stays_in_the_output(folder, job_of):
    job = job_of("inputs: 'in/night*/../../in/b.fits'\noutput: out\n")
    for image in find_images(job).images:
        assert job.output in image.store.resolve().parents
