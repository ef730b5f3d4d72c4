"""Results on their way to a bucket: whole, once, and with the manifest last."""

import os
from dataclasses import replace

import pytest
from s3_server import KEYS

from glassplate.flows.accounts.entry import Entry
from glassplate.flows.accounts.stamps import own_stamp
from glassplate.flows.jobs.buckets.bucket import Bucket, BucketUrl
from glassplate.flows.jobs.buckets.results import Uploads
from glassplate.flows.report.job_log import open_log
from glassplate.pipeline.errors import PassingError, UsageError

MANIFEST = "/plates/restored/night/a.zarr/provenance/manifest.json"


@pytest.fixture
def output(tmp_path):
    """A result with its scratch and an export, as far as an upload looks at them."""
    store = tmp_path / "out" / "night" / "a.zarr"
    for name in ("zarr.json", "0/c/0/0", "provenance/manifest.json", ".scratch/window.npy"):
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_text(name)
    (tmp_path / "out" / "night" / "a.fits").write_text("SIMPLE  =")
    (tmp_path / "out" / "job.jsonl").write_text("{}\n")
    return tmp_path / "out"


@pytest.fixture
def entry(output):
    export = output / "night" / "a.fits"
    return Entry(
        image="/data/a.fits",
        name="night/a.zarr",
        result="night/a.zarr",
        state="done",
        status="restored",
        run_id="1",
        complete=True,
        exports={os.path.abspath(export): own_stamp(export)},
    )


@pytest.fixture
def uploads_of(store, output):
    """Make the uploads of one run of the job."""

    with open_log(output / "job.log", "text", "info", "run") as log:
        yield lambda: Uploads(output, BucketUrl("plates", "restored"), log)


def written(store):
    """Keys of the objects that were written, in their order."""
    return [path for method, path, _ in store.requests if method == "PUT"]


def test_the_manifest_is_last(store, uploads_of, entry):
    assert uploads_of().add(entry) is None
    paths = written(store)
    assert paths[-1] == MANIFEST
    assert set(paths[:-1]) == {
        "/plates/restored/night/a.zarr/zarr.json",
        "/plates/restored/night/a.zarr/0/c/0/0",
        "/plates/restored/night/a.fits",
    }


def test_a_result_is_uploaded_once(store, uploads_of, entry):
    uploads_of().add(entry)
    store.requests.clear()
    uploads_of().finish([entry], [])
    assert store.requests == []


def test_what_is_not_complete_stays_here(store, uploads_of, entry):
    uploads_of().finish([replace(entry, complete=False)], [])
    assert written(store) == []


def test_an_upload_that_breaks_off_leaves_no_finished_result(store, uploads_of, entry):
    store.refused = "a.fits"
    uploads = uploads_of()
    assert "refuses access" in str(uploads.add(entry))
    assert MANIFEST not in written(store)
    with pytest.raises(PassingError, match=r"1 result not uploaded: .* they are complete in"):
        uploads.finish([entry], [])
    store.refused = None
    uploads_of().finish([entry], [])
    assert written(store)[-1] == MANIFEST


def test_another_result_of_the_name_replaces_the_earlier_one(store, uploads_of, entry, output):
    uploads_of().add(entry)
    (output / "night/a.zarr/0/c/0/0").rename(output / "night/a.zarr/0/c/0/1")
    store.requests.clear()
    uploads_of().add(replace(entry, run_id="2"))
    first = next(one for one in store.requests if one[0] in ("POST", "DELETE", "PUT"))
    assert first[0] != "PUT", "the manifest of the earlier one goes first"
    assert "restored/night/a.zarr/0/c/0/1" in store.all_keys()
    assert "restored/night/a.zarr/0/c/0/0" not in store.all_keys()


def test_the_account_of_the_job_goes_along(store, uploads_of, output):
    uploads_of().finish([], [output / "job.jsonl", output / "missing"])
    assert written(store) == ["/plates/restored/job.jsonl"]


def test_the_account_of_another_job_is_left_alone(store, uploads_of, entry, output):
    """The two overwrote each other's account, and results of one name, without a word."""
    store.put("restored/job.jsonl", b"of another")
    with pytest.raises(
        UsageError, match=r"s3://plates/restored/job\.jsonl is the account of another"
    ):
        uploads_of()
    assert written(store) == []
    store.remove("restored/job.jsonl")
    uploads_of().finish([entry], [output / "job.jsonl"])
    uploads_of().finish([entry], [output / "job.jsonl"])
    assert written(store).count("/plates/restored/job.jsonl") == 2, "its own is replaced"


def test_a_store_that_is_away_when_the_job_starts_is_asked_again(
    store, uploads_of, entry, monkeypatch
):
    store.put("restored/job.jsonl", b"of another")

    def away(bucket, key):
        raise PassingError("the store does not answer")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Bucket, "state", away)
        uploads = uploads_of()
    assert "is the account of another job" in str(uploads.add(entry))
    assert written(store) == []


def test_no_key_is_in_any_file(store, uploads_of, entry, output):
    store.refused = "a.fits"
    uploads_of().add(entry)
    store.refused = None
    uploads_of().add(entry)
    texts = [path.read_text() for path in output.rglob("*") if path.is_file()]
    assert not [value for value in KEYS.values() for text in texts if value in text]
