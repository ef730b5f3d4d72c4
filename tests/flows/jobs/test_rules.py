import numpy as np
import pytest
from astropy.io import fits
from PIL import Image as Picture

from glassplate.flows.jobs.images import find_images
from glassplate.flows.jobs.inputs import facts as facts_module
from glassplate.flows.jobs.inputs.facts import KnownFacts
from glassplate.pipeline.errors import UsageError


@pytest.fixture
def night(folder):
    header = fits.Header({"FILTER": "H-alpha", "EXPTIME": 120.0, "DARK": False})
    fits.writeto(folder / "in" / "a.fits", np.ones((40, 50), "f4"), header, overwrite=True)
    fits.writeto(
        folder / "in" / "b.fits",
        np.ones((400, 500), "f4"),
        fits.Header({"FILTER": "R", "EXPTIME": 10}),
        overwrite=True,
    )
    Picture.fromarray(np.zeros((30, 20), "u1")).save(folder / "in" / "c.tif")
    return folder


def recipes(job, **kwargs):
    return {image.spec.path.name: image.recipe for image in find_images(job, **kwargs).images}


@pytest.mark.parametrize(
    ("when", "suited"),
    [
        ("{suffix: .tif}", "c.tif"),
        ("{suffix: [TIF, .png]}", "c.tif"),
        ("{header: {FILTER: H-alpha}}", "a.fits"),
        ("{header: {filter: 'h*'}}", "a.fits"),
        ("{header: {FILTER: [R, G]}}", "b.fits"),
        ("{header: {EXPTIME: '> 60'}}", "a.fits"),
        ("{header: {EXPTIME: '>= 5, < 60'}}", "b.fits"),
        ("{header: {EXPTIME: 120}}", "a.fits"),
        ("{header: {DARK: false}}", "a.fits"),
        ("{header: {FILTER: '*', EXPTIME: '<60'}}", "b.fits"),
        ("{header: {NONE: '*'}}", None),
        ("{megapixels: '> 0.1'}", "b.fits"),
        ("{megapixels: '< 0.001'}", "c.tif"),
        ("{megapixels: '> 0.001, < 0.1', suffix: .fits}", "a.fits"),
    ],
)
def test_a_rule_decides_about_the_images_that_suit_it(night, job_of, when, suited):
    job = job_of(
        f"inputs: 'in/*.*'\noutput: out\nrecipe: identity\nrules: [{{when: {when}, recipe: draft}}]\n"
    )
    expected = {name: "draft" if name == suited else "identity" for name in recipes(job)}
    assert recipes(job) == expected


def test_the_first_rule_holds_and_an_entry_comes_before_it(night, job_of):
    job = job_of(
        """
inputs: ['in/*.*', {path: in/b.fits, recipe: archive-repair}]
output: out
set: {tiles.core: 64}
rules:
  - {when: {suffix: .fits}, recipe: draft, export: fits, set: {tiles.halo: 8}}
  - {when: {suffix: [.fits, .tif]}, recipe: reference}
"""
    )
    assert recipes(job) == {"a.fits": "draft", "b.fits": "archive-repair", "c.tif": "reference"}
    a, b, _ = find_images(job).images
    assert a.overrides == b.overrides == ("tiles.core=64", "tiles.halo=8")
    assert (a.export, b.export) == ("fits", "fits")


def test_a_damaged_file_suits_no_rule_that_reads_it(night, job_of):
    (night / "in" / "b.fits").write_bytes(b"SIMPLE  = ")
    job = job_of(
        "inputs: 'in/b.fits'\noutput: out\nrules: [{when: {megapixels: '>0'}, scale: 2}]\n"
    )
    (image,) = find_images(job).images
    assert (image.scale, image.fault) == (None, "")


def test_what_is_known_of_an_image_is_not_read_again(night, job_of, monkeypatch):
    job = job_of(
        "inputs: 'in/*.*'\noutput: out\nrules: [{when: {megapixels: '>0.1'}, recipe: draft}]\n"
    )
    real, known = facts_module.read_facts, {}
    monkeypatch.setattr(facts_module, "stamp_of", lambda path: ("as", "it", "was"))
    for image in find_images(job).images:
        known[image.facts.key] = image.facts
    monkeypatch.setattr(facts_module, "read_facts", None)
    assert recipes(job, facts=KnownFacts(known))["b.fits"] == "draft"
    monkeypatch.setattr(facts_module, "stamp_of", lambda path: ("has", "been", "changed"))
    monkeypatch.setattr(facts_module, "read_facts", real)
    (night / "in" / "b.fits").write_bytes((night / "in" / "a.fits").read_bytes())
    assert recipes(job, facts=KnownFacts(known))["b.fits"] is None


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("{recipe: draft}", "rules.0.when is missing"),
        ("{when: {}, recipe: draft}", "needs at least one of suffix, header and megapixels"),
        ("{when: {megapixels: '20 MP'}}", "expected comparisons such as"),
        ("{when: {suffixes: .tif}}", r"did you mean 'suffix'\?"),
        ("{when: {suffix: .tif}, recipee: x}", r"did you mean 'recipe'\?"),
    ],
)
def test_a_wrong_rule_is_refused(job_of, rule, message):
    with pytest.raises(UsageError, match=message):
        job_of(f"inputs: in/a.fits\noutput: out\nrules: [{rule}]\n")
