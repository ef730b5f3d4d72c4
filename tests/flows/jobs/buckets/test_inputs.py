"""Inputs in a bucket: what is copied, and when it is copied again."""

from urllib.request import Request, urlopen

import pytest

from glassplate.flows.jobs.buckets.bucket import BucketUrl
from glassplate.flows.jobs.buckets.inputs import copies_folder, with_copies
from glassplate.flows.jobs.images import find_images
from glassplate.flows.jobs.job import read_job
from glassplate.pipeline.errors import PassingError, UsageError


@pytest.fixture
def job_of(store, tmp_path, monkeypatch):
    """Read a job, copy its inputs and return the names of the images that it finds."""
    monkeypatch.chdir(tmp_path)

    def read(inputs):
        (tmp_path / "job.yaml").write_text(f"inputs: {inputs}\noutput: out\n")
        return read_job(tmp_path / "job.yaml")

    return read


@pytest.fixture
def night(store):
    """Some objects, two of which are no images."""
    for name in ("a.fits", "b.fits", "deep/c.fits", "log.txt", ".hidden.fits"):
        store.put(f"night/{name}", f"SIMPLE  = {name}".encode())
    store.put("nightly.fits", b"SIMPLE  =")


def copied(job):
    folder = copies_folder(job.output, "plates")
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(str(p.relative_to(folder)) for p in files if not p.name.startswith("."))


def quiet(line):
    pass


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        ("s3://plates/night/*.fits", ["a.fits", "b.fits"]),
        ("s3://plates/night", ["a.fits", "b.fits", "c.fits"]),
        ("s3://plates/night/a.fits", ["a.fits"]),
        ("{path: s3://plates/night/, exclude: deep}", ["a.fits", "b.fits"]),
        ("{path: s3://plates/night/, include: 'b*'}", ["b.fits"]),
        (
            "[s3://plates/*.fits, 's3://plates/night/[ab].fits']",
            ["nightly.fits", "a.fits", "b.fits"],
        ),
    ],
)
def test_an_entry_means_what_it_would_mean_on_a_disk(job_of, night, inputs, names):
    job = with_copies(job_of(inputs), quiet)
    assert [image.spec.path.name for image in find_images(job).images] == names
    assert sorted(name.rpartition("/")[2] for name in copied(job)) == sorted(names)


def test_an_object_is_copied_once_until_it_changes(store, job_of, night):
    job = job_of("s3://plates/night/*.fits")
    with_copies(job, quiet)
    assert len(store.listings()) == 1
    store.requests.clear()
    with_copies(job, quiet)
    assert [path for _, path, _ in store.requests] == ["/plates"], "one listing, nothing else"
    store.put("night/a.fits", b"SIMPLE  = other")
    store.remove("night/b.fits")
    store.requests.clear()
    said = []
    with_copies(job, said.append)
    gets = [path for method, path, query in store.requests if method == "GET" and not query]
    assert gets == ["/plates/night/a.fits"]
    assert said == ["s3://plates/night/*.fits: copying 1 object of 1, 15 B"]
    assert copied(job) == ["night/a.fits"]


def test_a_store_that_is_overloaded_is_asked_again(store, job_of, night):
    store.failing = 1
    assert len(find_images(with_copies(job_of("s3://plates/night/*.fits"), quiet)).images) == 2


def test_a_store_that_does_not_recover_ends_the_job_for_now(store, job_of, night):
    store.failing = 99
    with pytest.raises(PassingError, match="s3://plates/night/: the store does not answer"):
        with_copies(job_of("s3://plates/night/*.fits"), quiet)


def test_no_part_of_an_object_is_taken_for_it(store, job_of, night):
    job = job_of("s3://plates/night/*.fits")
    store.refused = "b.fits"
    with pytest.raises(UsageError, match=r"s3://plates/night/b\.fits: the store refuses access"):
        with_copies(job, quiet)
    assert "night/b.fits" not in copied(job)
    store.refused = None
    with_copies(job, quiet)
    assert copied(job) == ["night/a.fits", "night/b.fits"]


def test_a_key_that_is_no_path_of_a_file_is_refused(store, job_of, tmp_path):
    # no client of obstore writes such a key
    path = f"{store.url}/plates/night/%2E%2E/%2E%2E/%2E%2E/evil.fits"
    with urlopen(Request(path, data=b"SIMPLE  =", method="PUT")):
        pass
    with pytest.raises(UsageError, match=r"s3://plates/night/: holds an object whose key no file"):
        with_copies(job_of("s3://plates/night"), quiet)
    assert not list(tmp_path.rglob("evil.fits"))


class TestUrl:
    def test_is_read(self):
        assert BucketUrl.parse("s3://plates") == BucketUrl("plates", "")
        assert BucketUrl.parse("s3://plates/a/b.fits") == BucketUrl("plates", "a/b.fits")

    @pytest.mark.parametrize(
        "text", ["s3://", "s3://KEY:PASS@plates/a", "s3:/plates", "s3://A B/c"]
    )
    def test_is_refused(self, text):
        with pytest.raises(ValueError, match="expected s3://BUCKET/KEY") as caught:
            BucketUrl.parse(text)
        assert "PASS" not in str(caught.value)

    def test_a_job_with_a_password_is_refused_without_showing_it(self, tmp_path):
        (tmp_path / "job.yaml").write_text("inputs: s3://KEY:PASS@plates/a\noutput: out\n")
        with pytest.raises(UsageError, match="AWS_SECRET_ACCESS_KEY") as caught:
            read_job(tmp_path / "job.yaml")
        assert "PASS" not in str(caught.value)
