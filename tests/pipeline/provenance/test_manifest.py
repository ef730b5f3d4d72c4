"""The manifest describes the run, is read as it was written, and is refused in one line if it is damaged."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml
from manifests import IDENTITY, PLAN, manifest

from glassplate.models.device.numerics import Numerics
from glassplate.models.exposures import Match
from glassplate.models.noise.model import NoiseModel
from glassplate.models.operators.quantisation import standard_quantisation
from glassplate.models.pixel_transform import PixelTransform
from glassplate.pipeline.companions.exposures import Alignment, Combination
from glassplate.pipeline.defects.cosmic_rays import DefectSettings
from glassplate.pipeline.errors import StoreError
from glassplate.pipeline.provenance.folder import provenance_path
from glassplate.pipeline.provenance.machine import this_machine
from glassplate.pipeline.provenance.manifest import (
    Session,
    Spread,
    Summary,
    parse_manifest,
    read_manifest,
    write_manifest,
)
from glassplate.pipeline.provenance.recorded_plan import RecordedCompanion, RecordedDonor
from glassplate.pipeline.recipes.recipe import parse_recipe

EARLY = Path(__file__).with_name("early_manifest.json")


def test_the_manifest_describes_input_recipe_and_software(store, recipe):
    manifest = read_manifest(store)
    assert manifest.status == "complete"
    assert parse_recipe(manifest.recipe, "manifest") == recipe
    assert manifest.identity.versions.keys() == {"glassplate", "torch", "numpy"}
    session = manifest.sessions[0]
    assert session.context == {"flow_run": "abc"}
    assert session.started <= session.ended
    written = yaml.safe_load(provenance_path(store, "recipe.yaml").read_text())
    assert written == manifest.recipe
    assert "torch==" in provenance_path(store, "environment.txt").read_text()


def test_a_manifest_is_read_as_it_was_written(tmp_path):
    (tmp_path / "provenance").mkdir()
    session = Session("2026-01-01T00:00:00+00:00", None, "inline", 1, this_machine(), {"a": "b"})
    summary = Summary(
        noise_before=1.0,
        noise_after=None,
        noise_model="given",
        unit="adu",
        iterations=6.0,
        chi2=Spread(0.5, 1.0, 2.0),
        filled_pixels=3,
        stop_reasons={"iteration cap": 1},
        fit_seconds=1.5,
        quarantined={"0": "failed"},
    )
    (tmp_path / "out.fits").write_bytes(b"pixels")
    whole = manifest().with_session(session).with_result("partial", summary)
    whole = whole.with_export(tmp_path / "out.fits")
    write_manifest(tmp_path, whole)
    assert read_manifest(tmp_path) == whole
    assert whole.has_ended
    assert whole.has_export(tmp_path / "out.fits")
    resumed = whole.with_session(session)
    assert (resumed.status, len(resumed.sessions)) == ("running", 2)
    assert resumed.exports == ()


def test_a_plan_is_read_as_it_was_written(tmp_path):
    (tmp_path / "provenance").mkdir()
    noise, transform = (
        NoiseModel(1e-41, 0.1, 0.0, True, "given", -3.0),
        PixelTransform("asinh", 0.1),
    )
    second = Alignment(3, -1, 0.25, Match(2.0, 0.1, "stars", 0.9), noise)
    plan = replace(
        PLAN,
        unit_exponent=-64,
        wild=(None, {"sky": 0.1, "far": None, "sigma": 0.0}),
        transform=transform,
        numerics=Numerics("cuda", "bf16", "channels_last", 2, 8, "grouped"),
        donor=RecordedDonor("/somewhere/a.zarr", "ab" * 32),
        exposures=Combination((second, second), keep_last=True),
        guide=transform,
        psf_shape=(7, 5),
        defects=asdict(DefectSettings(cosmic_rays=True)),
        low_level=-1e30,
        quantisation=standard_quantisation(25, 3, (2, 2)),
        white=255.0,
        companions=(RecordedCompanion("mask", "a[DQ]", True, False, "flags", "not believed"),),
        warnings=("one",),
    )
    write_manifest(tmp_path, manifest(plan=plan))
    assert read_manifest(tmp_path).plan == plan


def test_an_early_manifest_is_read():
    # written on 29 November 2026 by a version without alpha, wild pixels and low levels
    document = json.loads(EARLY.read_text())
    found = parse_manifest(document)
    written = json.loads(json.dumps(found.to_json()))
    # newer fields have their default
    assert written["summary"].pop("wild_pixels") == 0
    assert written["plan"]["layout"].pop("alpha") is False
    assert [written["plan"][name].pop("colours") for name in ("layout", "grid")] == [1, 1]
    names = ("unit_exponent", "wild", "defect_noise", "low_level", "noise_found", "removes_nothing")
    assert written["plan"].pop("pedestal") == 0
    assert written["plan"]["noise"].pop("shares") == []
    newer = [written["plan"].pop(name) for name in names]
    assert newer == [0, [], None, None, None, False]
    assert written["summary"].pop("kept_rays") == 0
    assert written["summary"].pop("companions") == written["plan"].pop("companions") == []
    names = ("flags", "found", "exposure_masks", "exposure_flags")
    assert [written["identity"].pop(name) for name in names] == [None, [], [], []]
    assert written == document


def test_a_manifest_without_guides_and_exports_is_read():
    document = manifest().to_json()
    for name in ("provenance", "exports"):
        del document[name]
    for name in ("psf", "guide", "hints", "overlay", "exposures", "donor", "noise_kind"):
        del document["identity"][name]
    assert parse_manifest(document) == manifest()


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "null",
        "{}",
        json.dumps({**manifest().to_json(), "plan": {}}),
        json.dumps({**manifest().to_json(), "status": "unheard of"}),
        json.dumps({**manifest().to_json(), "identity": {**asdict(IDENTITY), "source": None}}),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path, content):
    (tmp_path / "provenance").mkdir()
    (tmp_path / "provenance" / "manifest.json").write_text(content)
    with pytest.raises(StoreError, match=r"its manifest manifest.json is missing or damaged$"):
        read_manifest(tmp_path)


def test_a_manifest_of_another_version_is_refused(tmp_path):
    (tmp_path / "provenance").mkdir()
    text = json.dumps({**manifest().to_json(), "glassplate_manifest": 2})
    (tmp_path / "provenance" / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match="has version 2, this release reads version 1; use the"):
        read_manifest(tmp_path)
