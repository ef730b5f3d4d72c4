"""A donor taken over from an earlier result: copied, fitted on, recorded; the old one is needed no more."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from runs import COPY, FIT, UntidyPool, digest, level0, request

from glassplate.pipeline.errors import StoreError, UsageError
from glassplate.pipeline.events import StageStarted
from glassplate.pipeline.planning.donor_reuse import BEFORE, find_donor
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.summary import summarise
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.provenance.inspect import inspect_result
from glassplate.pipeline.provenance.verify import verify
from glassplate.pipeline.recipes.recipe import load_recipe, parse_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import SourceSpec

REFINED = {**FIT, "donor": {"refine": 2}}
AS_IT_IS = {**FIT, "donor": {"refine": 0}}


@pytest.fixture(scope="module")
def first_night(tmp_path_factory):
    """Two exposures of one field of 50 x 70 pixels, and the result of the first."""
    folder = tmp_path_factory.mktemp("first_night")
    scene = 100 + np.random.default_rng(0).normal(0, 5, (50, 70)).cumsum(1)
    for name, seed in (("a", 1), ("b", 2)):
        noise = np.random.default_rng(seed).normal(0, 3, scene.shape)
        fits.writeto(folder / f"{name}.fits", (scene + noise).astype("f4"))
    restore(request(folder / "a.fits", folder / "a.zarr", FIT), InlinePool())
    return folder


@pytest.fixture
def frames(first_night, tmp_path):
    """The same in a folder of each test's own."""
    return shutil.copytree(first_night, tmp_path / "frames")


def weights(store, name="donor.npz"):
    return (store / "provenance" / name).read_bytes()


def next_one(frames, raw, name="b.zarr", donor="a.zarr"):
    return request(frames / "b.fits", frames / name, raw, donor=frames / donor)


@pytest.mark.slow
def test_without_refinement_no_donor_is_fitted(frames):
    events = []
    restore(next_one(frames, AS_IT_IS), InlinePool(), events.append)
    assert weights(frames / "b.zarr") == weights(frames / "a.zarr")
    [line] = (frames / "b.zarr" / "provenance" / "donor.jsonl").read_text().splitlines()
    assert json.loads(line)["iterations"] == 0
    [stage] = [e for e in events if isinstance(e, StageStarted) and e.stage == "donor"]
    assert stage.total == 0


@pytest.mark.parametrize(("core", "same"), [(30, True), (16, False)], ids=["6 tiles", "20 tiles"])
def test_a_donor_has_the_network_of_its_image_and_is_reused_by_the_same_recipe(frames, core, same):
    # regression: up to 16 tiles the recipe's unshuffled network is not taken, and --donor was refused
    raw = {
        **FIT,
        "donor": {"network": "unshuffled", "refine": 0},
        "tiles": {"core": core, "halo": 4},
    }
    restore(request(frames / "a.fits", frames / "first.zarr", raw), InlinePool())
    found = find_donor(frames / "first.zarr")
    assert found.network["kind"] == ("lean" if same else "unshuffled")
    assert found.network["channels"] == (4 if same else 48)
    result = restore(next_one(frames, raw, donor="first.zarr"), InlinePool())
    assert result.status == "complete"
    assert weights(frames / "b.zarr") == weights(frames / "first.zarr")


@pytest.mark.slow
def test_refinement_changes_the_weights_and_the_result(frames):
    restore(next_one(frames, REFINED), InlinePool())
    restore(request(frames / "b.fits", frames / "own.zarr", FIT), InlinePool())
    assert weights(frames / "b.zarr", BEFORE) == weights(frames / "a.zarr")
    assert weights(frames / "b.zarr") != weights(frames / "a.zarr")
    assert digest(frames / "b.zarr") != digest(frames / "own.zarr")


@pytest.mark.slow
def test_it_is_recorded(frames):
    restore(next_one(frames, REFINED), InlinePool())
    manifest = json.loads(weights(frames / "b.zarr", "manifest.json"))
    named = manifest["identity"]["donor"]
    assert named["path"] == str(frames / "a.zarr" / "provenance" / "donor.npz")
    assert named["sha256"] == find_donor(frames / "a.zarr").file.sha256
    assert manifest["plan"]["donor_iterations"] == 2
    assert inspect_result(frames / "b.zarr")["donor"]["store"] == str(frames / "a.zarr")
    assert inspect_result(frames / "a.zarr")["donor"] is None
    checks = {check.name: check for check in verify(frames / "b.zarr")}
    assert checks["donor"].ok
    shutil.rmtree(frames / "a.zarr")
    checks = {check.name: check for check in verify(frames / "b.zarr")}
    assert checks["donor"].ok
    assert "not there any more" in checks["donor"].detail


@pytest.mark.slow
def test_an_image_of_one_tile_starts_from_it_too(frames):
    raw = {**REFINED, "tiles": {"core": 128, "halo": 0}}
    plan = make_plan(
        SourceSpec(frames / "b.fits"),
        parse_recipe(raw, "t"),
        recipe_name="t",
        donor=find_donor(frames / "a.zarr"),
    )
    assert len(plan.grid) == 1
    assert plan.warm
    told = summarise(plan, workers=1)
    assert told.donor.store == str(frames / "a.zarr")
    assert told.donor.sha256 == find_donor(frames / "a.zarr").file.sha256
    assert told.donor_iterations == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lost", "raw"),
    [("nothing", REFINED), ("the donor", REFINED), ("both", REFINED), ("both", AS_IT_IS)],
)
def test_a_killed_run_is_resumed_to_the_same_bytes(frames, raw, lost):
    restore(next_one(frames, raw, "whole.zarr"), InlinePool())
    with pytest.raises(KeyboardInterrupt):
        restore(next_one(frames, raw), UntidyPool(interrupt_after=3))
    if lost == "both":
        shutil.rmtree(frames / "a.zarr")
    if lost in ("the donor", "both"):
        (frames / "b.zarr" / "provenance" / "donor.npz").unlink()
    restore(next_one(frames, raw), UntidyPool(4))
    assert digest(frames / "b.zarr") == digest(frames / "whole.zarr")
    assert weights(frames / "b.zarr") == weights(frames / "whole.zarr")
    again = restore(next_one(frames, raw), InlinePool())
    assert again.already_complete


@pytest.mark.slow
def test_a_lost_copy_is_restored_from_the_earlier_result_or_refused(frames):
    restore(next_one(frames, REFINED, "whole.zarr"), InlinePool())
    with pytest.raises(KeyboardInterrupt):
        restore(next_one(frames, REFINED), UntidyPool(interrupt_after=3))
    for name in ("donor.npz", BEFORE):
        (frames / "b.zarr" / "provenance" / name).unlink()
    restore(next_one(frames, REFINED), InlinePool())
    assert digest(frames / "b.zarr") == digest(frames / "whole.zarr")


@pytest.mark.slow
def test_a_run_is_not_resumed_with_another_donor(frames):
    restore(next_one(frames, REFINED), InlinePool())
    other = {**FIT, "seed": 1}
    restore(request(frames / "a.fits", frames / "c.zarr", other), InlinePool())
    with pytest.raises(StoreError, match=r"made from another donor than .*c\.zarr"):
        restore(next_one(frames, REFINED, donor="c.zarr"), InlinePool())
    with pytest.raises(StoreError, match="made from another donor than"):
        restore(request(frames / "b.fits", frames / "b.zarr", REFINED), InlinePool())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (COPY, "task identity fits nothing; drop it"),
        ({**FIT, "donor": {"tiles": 0}}, "donor.tiles 0 starts every tile from random"),
        ({**FIT, "fit": {"input": "noise"}}, "fits with input noise start from random weights"),
        ({**FIT, "task": "superres", "operator": {"scale": 2}}, "fits with input measurement"),
        ({**FIT, "network": {"channels": 5}}, r"its network\.channels is 4, here it is 5; take"),
    ],
)
def test_weights_that_do_not_fit_are_refused(frames, raw, message):
    with pytest.raises(UsageError, match=message) as caught:
        restore(next_one(frames, raw), InlinePool())
    assert "\n" not in str(caught.value)
    assert not (frames / "b.zarr").exists()


@pytest.mark.slow
def test_the_next_page_is_enlarged_by_what_was_learnt_from_this_one(frames):
    raw = {
        "task": "superres",
        "operator": {"scale": 2},
        "network": {"kind": "enlarging", "channels": 4, "scales": 1},
        "fit": {"iterations": 9},
        "donor": {"refine": 0},
        "stopping": {"rule": "fixed"},
    }
    restore(request(frames / "a.fits", frames / "up.zarr", raw), InlinePool())
    events = []
    restore(next_one(frames, raw, donor="up.zarr"), InlinePool(), events.append)
    assert weights(frames / "b.zarr") == weights(frames / "up.zarr")
    assert all(check.ok for check in verify(frames / "b.zarr"))
    assert level0(frames / "b.zarr").shape[-2:] == (100, 140)


@pytest.mark.slow
def test_weights_for_colours_do_not_fit_a_grey_image(frames):
    image = np.random.default_rng(0).integers(0, 255, (50, 70, 3), "u1")
    tifffile.imwrite(frames / "c.tif", image, photometric="rgb")
    colour = request(frames / "c.tif", frames / "c.zarr", FIT, donor=frames / "a.zarr")
    with pytest.raises(UsageError, match="paints another number of channels"):
        restore(colour, InlinePool())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("nothing there", "is no result of glassplate; name another"),
        ("no donor", "has no donor, each of its tiles started from random weights"),
        ("damaged", r"its weights donor\.npz are missing or damaged"),
    ],
)
def test_an_earlier_result_without_a_usable_donor_is_refused(frames, fault, message):
    old = frames / "old.zarr"
    if fault == "no donor":
        restore(request(frames / "a.fits", old, {**FIT, "donor": {"tiles": 0}}), InlinePool())
    elif fault == "damaged":
        shutil.copytree(frames / "a.zarr", old)
        (old / "provenance" / "donor.npz").write_bytes(b"nonsense")
    with pytest.raises(UsageError, match=message) as caught:
        restore(next_one(frames, FIT, donor="old.zarr"), InlinePool())
    assert str(caught.value).startswith(f"--donor {old}: ")


@pytest.mark.slow
def test_the_next_decam_exposure_is_restored_in_few_iterations(real_data, tmp_path):
    """From the donor of the exposure before, as it is; against the mean of the other three."""
    folder = real_data / "astro" / "pairs" / "decam_i_2nights"
    crop = (slice(70, 142), slice(100, 172))
    images = [fits.getdata(folder / f"DEC-OBS04{name}.mini.fits")[crop] for name in "abcde"]
    for name, image in zip("ab", images, strict=False):
        fits.writeto(tmp_path / f"{name}.fits", image.astype("f4"))
    common = ["tiles.core=36", "tiles.halo=16", "donor.iterations=50", "donor.refine=0"]
    first = load_recipe("astro-denoise", [*common, "donor.tile_iterations=1"])
    store = tmp_path / "a.zarr"
    asked = RestoreRequest(SourceSpec(tmp_path / "a.fits"), store, first, "astro-denoise", "cpu")
    restore(asked, InlinePool())
    recipe = load_recipe("astro-denoise", [*common, "donor.tile_iterations=25"])
    spec = SourceSpec(tmp_path / "b.fits")
    gains = {}
    truth = np.mean(images[2:], axis=0)
    agree = np.std(images[2:], axis=0) < 150
    noise = np.mean(np.var(images[2:], axis=0, ddof=1)[agree]) / 3
    for name, donor in (("warm", store), ("cold", None)):
        asked = RestoreRequest(
            spec,
            tmp_path / f"{name}.zarr",
            recipe if donor else recipe_of_as_many(recipe, 25),
            "astro-denoise",
            "cpu",
            donor=donor,
        )
        restore(asked, InlinePool())
        errors = [
            np.mean((x - truth)[agree] ** 2) - noise
            for x in (images[1], level0(tmp_path / f"{name}.zarr"))
        ]
        gains[name] = 10 * np.log10(errors[0] / errors[1])
    assert gains["warm"] > 6
    assert gains["warm"] > gains["cold"]  # 13.8 and 12.5 dB


def recipe_of_as_many(recipe, iterations):
    """The same from random weights, with a cap of as many iterations."""
    fit = replace(recipe.fit, iterations=iterations)
    donor = replace(recipe.donor, tiles=0)
    return recipe.model_copy(update={"fit": fit, "donor": donor})
