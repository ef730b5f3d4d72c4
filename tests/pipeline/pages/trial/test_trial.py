"""A trial draws the windows of an image before and after, and says what it did."""

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image
from shown_pages import Page

from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.pages.trial.fits import (
    Tried,
    recipes_to_try,
    removes_something,
    short_plan,
)
from glassplate.pipeline.pages.trial.sheet import CELL, ENLARGED
from glassplate.pipeline.pages.trial.trial import TrialSettings, draw_trial, unchanged
from glassplate.pipeline.pages.trial.windows import TrialWindow
from glassplate.pipeline.planning.first_look import look_and_plan
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

HEIGHT, WIDTH = 40, 48


def noisy(folder):
    values = np.random.default_rng(0).normal(100, 5, (HEIGHT, WIDTH)).astype(np.float32)
    values[3:5, 4:9] = np.nan
    fits.writeto(folder / "a.fits", values)
    return SourceSpec(folder / "a.fits")


def test_the_sheet_of_an_image(tmp_path):
    sheet = draw_trial(
        noisy(tmp_path),
        tmp_path / "a.png",
        TrialSettings(strengths=[0.5], iterations=3),
    )
    image = Image.open(sheet.path)
    # input, proposed at one strength, removed, draft, removed
    assert image.width > 4 * CELL
    assert image.height > ENLARGED * HEIGHT
    assert image.info["Software"].startswith("glassplate")
    assert np.asarray(image)[..., 0].std() > 10
    assert any("astro-denoise is proposed" in note for note in sheet.notes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.fits", "a.png"]


def test_the_page_of_an_image(tmp_path):
    sheet = draw_trial(
        noisy(tmp_path), tmp_path / "a.html", TrialSettings(strengths=[0.5, 1.0], iterations=3)
    )
    page = Page(sheet.path)
    names = ["astro-denoise, strength 0.5", "astro-denoise, strength 1", "draft"]
    ways = [name.removeprefix("After: ") for name in page.pictures if name.startswith("After: ")]
    assert ways == [f"whole image, {name}" for name in names]
    with_removed = [name for name in ways if f"What was removed: {name}" in page.pictures]
    assert with_removed == ways[1:], "what was removed is that of the full strength"
    for kind in ("Before", "After"):
        assert page.pictures[f"{kind}: whole image, draft"].shape[:2] == (HEIGHT, WIDTH)
    assert (page.pictures[f"After: {ways[0]}"] != page.pictures[f"After: {ways[2]}"]).any()
    assert all(note in page.text for note in sheet.notes)


def test_a_page_replaces_a_page_but_no_other_file(tmp_path):
    spec, settings = noisy(tmp_path), TrialSettings(strengths=[1.0], iterations=3)
    for _ in range(2):
        draw_trial(spec, tmp_path / "a.html", settings)
    (tmp_path / "b.html").write_text("my own page")
    with pytest.raises(UsageError, match="was not written by glassplate"):
        draw_trial(spec, tmp_path / "b.html", settings)


def test_strengths_lie_between_input_and_result():
    before, after = np.full((1, 2, 2), 8.0), np.full((1, 2, 2), 4.0)
    filled = np.zeros((1, 2, 2))
    filled[0, 0, 0] = 1
    tried = Tried(before, after, filled)
    assert (tried.at_strength(1.0) == after).all()
    half = tried.at_strength(0.5)
    assert half[0, 1, 1] == 6
    assert half[0, 0, 0] == 4, "a filled pixel has nothing to mix back"
    assert (tried.removed == 4).all()


def test_the_noise_is_that_of_the_whole_image_and_no_donor_is_fitted(tmp_path):
    spec = noisy(tmp_path)
    look, planned = look_and_plan(spec)
    plan = short_plan(planned, "draft", iterations=7)
    assert removes_something(plan)
    assert (plan.warm, plan.tile_problem.fit.iterations, plan.numerics.stack) == (False, 7, 1)
    assert abs(plan.noise.floor**0.5 * 2**plan.findings.exponent - 5) < 1.5
    assert recipes_to_try(look) == ("astro-denoise", "draft")


@pytest.mark.parametrize("recipe", ["draft", "archive-denoise", "archive-deartifact"])
def test_the_plan_is_that_of_a_run_but_for_the_fits(tmp_path, recipe):
    values = np.random.default_rng(0).normal(128, 20, (64, 64, 3)).clip(0, 255).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "a.jpg", quality=30)
    spec = SourceSpec(tmp_path / "a.jpg")
    plan = short_plan(look_and_plan(spec)[1], recipe)
    of_run = make_plan(spec, load_recipe(recipe), recipe_name=recipe)
    for name in (
        "findings",
        "noise",
        "transform",
        "quantisation",
        "flux_factor",
        "removes_nothing",
    ):
        assert getattr(plan, name) == getattr(of_run, name), name


def test_a_window_that_is_as_it_was_is_said_to_be():
    window, before = TrialWindow("flattest part", Box(0, 2, 0, 2)), np.full((1, 2, 2), 100.0)
    before[0, 0, 0] = np.nan
    nothing = np.zeros((1, 2, 2))
    same = Tried(before, before.astype(np.float32) * np.float32(1 + 1e-7), nothing)
    other = Tried(before, before - 1, nothing)
    second = TrialWindow("most texture", Box(2, 4, 0, 2))
    assert unchanged({"draft": {window: same}}) == ["draft changed nothing, in no window"]
    assert unchanged({"draft": {window: same, second: other}}) == [
        "draft changed nothing in the flattest part"
    ]
    assert unchanged({"draft": {window: other}}) == []


def test_a_jpeg_with_blocks_is_tried_against_both_of_its_faults(tmp_path):
    values = np.random.default_rng(0).normal(128, 20, (64, 64, 3)).clip(0, 255).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "a.jpg", quality=10)
    look, _ = look_and_plan(SourceSpec(tmp_path / "a.jpg"))
    assert recipes_to_try(look) == ("archive-deartifact", "draft", "archive-denoise")


def test_without_noise_it_says_so(tmp_path):
    Image.fromarray(np.full((64, 64), 90, np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match="nothing to preview: no noise was found") as error:
        draw_trial(SourceSpec(tmp_path / "a.png"), tmp_path / "b.png", TrialSettings())
    assert "\n" not in str(error.value)
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize(
    ("name", "more", "why"),
    [
        ("b.jpg", {}, r"previews are \.png or \.html; choose"),
        ("b.png", {"strengths": [2.0]}, "must be between 0"),
        ("b.png", {"at": (HEIGHT, 0)}, "--at 40,0: the image has 40 rows"),
        ("none/b.png", {}, "there is no folder"),
    ],
)
def test_wrong_usage_is_refused_before_any_fit(tmp_path, name, more, why):
    with pytest.raises(UsageError, match=why):
        draw_trial(noisy(tmp_path), tmp_path / name, TrialSettings(**more))


def test_an_image_of_nothing_is_refused(tmp_path):
    fits.writeto(tmp_path / "a.fits", np.full((20, 20), np.nan, np.float32))
    with pytest.raises(SourceError, match="all 400 pixels are invalid"):
        draw_trial(SourceSpec(tmp_path / "a.fits"), tmp_path / "b.png", TrialSettings())
