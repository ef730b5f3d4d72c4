"""The provenance is what the standards' own libraries read."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from astropy.io import fits
from prov.model import ProvDocument
from rocrate.rocrate import ROCrate

from glassplate.pipeline.errors import StoreError
from glassplate.pipeline.planning import memory as capacity
from glassplate.pipeline.planning.make_plan import plan_files
from glassplate.pipeline.pool import InlinePool
from glassplate.pipeline.provenance import documents as provenance
from glassplate.pipeline.provenance.journal import read_journal
from glassplate.pipeline.recipe import parse_recipe
from glassplate.pipeline.run import restore as run
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import SourceSpec

RAW = {
    "fit": {"iterations": 4, "log_period": 2},
    "network": {"channels": 4, "skip_channels": 4, "scales": 2},
    "tiles": {"core": 24, "halo": 4},
}


def request(folder):
    image = np.random.default_rng(0).normal(100, 5, (40, 30)).astype("f4")
    fits.writeto(folder / "sky.fits", image)
    return RestoreRequest(
        SourceSpec(folder / "sky.fits"),
        folder / "sky.zarr",
        parse_recipe(RAW, "test"),
        "test",
        device="cpu",
        context={"flow_run": "abc"},
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    wish = request(tmp_path_factory.mktemp("provenance"))
    restore(wish, InlinePool())
    return wish.store


def test_prov_is_read_by_prov(store):
    text = provenance.provenance_path(store, "prov.json").read_text()
    document = ProvDocument.deserialize(content=text)
    kinds = {type(record).__name__ for record in document.get_records()}
    assert {"ProvEntity", "ProvActivity", "ProvAgent", "ProvUsage", "ProvGeneration"} <= kinds


def test_the_crate_is_read_by_rocrate(store):
    crate = ROCrate(str(store / "provenance"))
    action = next(e for e in crate.get_entities() if e.type == "CreateAction")
    assert action["instrument"]["softwareVersion"]
    assert len(action["object"][0]["sha256"]) == 64
    for part in crate.root_dataset["hasPart"]:
        assert (store / "provenance" / part.id).is_file(), part.id


def test_the_manifest_says_what_and_with_what(store):
    manifest = provenance.read_manifest(store)
    assert manifest["status"] == "complete"
    assert parse_recipe(manifest["recipe"], "manifest") == parse_recipe(RAW, "test")
    assert manifest["identity"]["versions"].keys() == {"glassplate", "torch", "numpy"}
    session = manifest["sessions"][0]
    assert session["context"] == {"flow_run": "abc"}
    assert session["started"] <= session["ended"]
    recipe = yaml.safe_load(provenance.provenance_path(store, "recipe.yaml").read_text())
    assert recipe == manifest["recipe"]
    assert "torch==" in provenance.provenance_path(store, "environment.txt").read_text()


def test_gpus_are_named_only_where_torch_sees_some(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", "GPU {}".format)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert provenance.machine(gpus=True)["gpus"] == ["GPU 0", "GPU 1"]
    # without a driver
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert provenance.machine(gpus=True)["gpus"] == []


@pytest.mark.parametrize(("device", "named"), [("cpu", []), ("cuda", ["GPU 0"])])
def test_a_session_names_the_gpus_that_its_plan_uses(tmp_path, monkeypatch, device, named):
    class Stops(InlinePool):
        def map(self, work, tasks, tell):
            raise KeyboardInterrupt

    def on_that(*args, **more):
        plan = plan_files(*args, **more)
        return replace(plan, numerics=replace(plan.numerics, device=device))

    monkeypatch.setattr(run, "plan_files", on_that)
    monkeypatch.setattr(capacity, "device_memory", lambda workers: ())
    monkeypatch.setattr(provenance, "gpu_count", lambda device: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", "GPU {}".format)
    wish = request(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        restore(wish, Stops())
    [session] = provenance.read_manifest(wish.store)["sessions"]
    assert session["machine"]["gpus"] == named


def test_every_tile_has_its_record(store):
    records = read_journal(provenance.provenance_path(store, "tiles.jsonl"))
    assert [record["tile"] for record in records] == [0, 1, 2, 3]
    assert len({record["seed"] for record in records}) == 4
    for record in records:
        assert record["iterations"] == 4
        assert record["stop_reason"]
        assert record["seconds"] > 0


def test_checksums_are_those_of_sha256sum(store):
    import hashlib

    lines = provenance.provenance_path(store, "checksums.sha256").read_text().splitlines()
    names = [line.split("  ", 1)[1] for line in lines]
    assert names == sorted(names)
    assert any(name.startswith("0/c/") for name in names)
    assert any(name.startswith("quality/") for name in names)
    for line in lines:
        digest, name = line.split("  ", 1)
        assert hashlib.sha256((store / name).read_bytes()).hexdigest() == digest


def test_a_damaged_manifest_is_named(tmp_path):
    (tmp_path / "provenance").mkdir()
    (tmp_path / "provenance" / "manifest.json").write_text(json.dumps({})[:1])
    with pytest.raises(StoreError, match=r"its manifest manifest.json is missing or damaged"):
        provenance.read_manifest(tmp_path)
