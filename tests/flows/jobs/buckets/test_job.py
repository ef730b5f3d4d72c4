"""A job whose images come from a bucket and whose results go to it."""

import pytest

pytestmark = [pytest.mark.prefect, pytest.mark.slow]


@pytest.mark.usefixtures("shared_prefect")
def test_a_job_restores_what_is_in_a_bucket(gp, make_sky, store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate("ab"):
        path = make_sky(tmp_path / f"{name}.fits", seed=seed)
        store.put(f"night/{name}.fits", path.read_bytes())
    (tmp_path / "job.yaml").write_text(
        "inputs: s3://plates/night/*.fits\noutput: out\nupload: s3://plates/restored\n"
        "recipe: identity\nexport: fits\npool: inline\n"
    )
    first = gp("batch", tmp_path / "job.yaml", "--progress", "none")
    assert first.code == 0, first
    assert len(store.listings()) == 3, "the inputs, and what was there of each result"
    keys = store.all_keys()
    for name in "ab":
        assert f"restored/{name}.zarr/provenance/manifest.json" in keys
        assert f"restored/{name}.zarr/zarr.json" in keys
        assert f"restored/{name}.fits" in keys
    assert "restored/job.jsonl" in keys
    store.requests.clear()
    again = gp("batch", tmp_path / "job.yaml", "--progress", "none")
    assert again.code == 0, again
    written = [path for method, path, _ in store.requests if method == "PUT"]
    assert written == ["/plates/restored/job.jsonl"]


@pytest.mark.usefixtures("shared_prefect")
def test_two_machines_without_a_common_disk_share_a_bucket(
    gp, make_sky, store, tmp_path, monkeypatch
):
    """Each has a folder of its own, and takes its inputs by their names; the bucket has all results."""
    for seed, name in enumerate(("a1", "a2", "b1")):
        path = make_sky(tmp_path / f"{name}.fits", seed=seed)
        store.put(f"night/{name}.fits", path.read_bytes())
    for machine, inputs in (("east", "a*"), ("west", "b*")):
        folder = tmp_path / machine
        folder.mkdir()
        monkeypatch.chdir(folder)
        (folder / "job.yaml").write_text(
            f"inputs: s3://plates/night/{inputs}.fits\noutput: out\nname: {machine}\n"
            f"upload: s3://plates/restored/{machine}\nrecipe: identity\npool: inline\n"
        )
        run = gp("batch", folder / "job.yaml", "--progress", "none")
        assert run.code == 0, run
    keys = store.all_keys()
    finished = [key for key in keys if key.endswith("manifest.json")]
    assert sorted(finished) == [
        f"restored/{name}.zarr/provenance/manifest.json"
        for name in ("east/a1", "east/a2", "west/b1")
    ]
    assert {"restored/east/job.jsonl", "restored/west/job.jsonl"} <= set(keys)
    copies = [path.name for path in tmp_path.rglob("*/.inputs/**/*.fits")]
    assert sorted(copies) == ["a1.fits", "a2.fits", "b1.fits"], "each has copied its own"
