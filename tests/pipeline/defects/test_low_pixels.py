"""Pixels far below the sky are found, and their good neighbours are not."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from rays import WHITE, detector, rays, sky

from glassplate.models.noise.model import NoiseModel
from glassplate.pipeline.defects.cosmic_rays import DefectMaskedSource
from glassplate.pipeline.defects.low_pixels import low_level, low_pixels
from glassplate.pipeline.defects.medians import dilate
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

PLACES = {
    "one": np.s_[60, 70],
    "twenty": (np.arange(5, 105, 5), np.arange(10, 150, 7)),
    "a column": np.s_[:, 70],
    "a column of two": np.s_[:, 70:72],
    "several columns": np.s_[:, [20, 70, 73, 120]],
    "a row": np.s_[60, :],
    "a block": np.s_[40:50, 80:90],
    "a border of one": np.s_[:1, :],
    "a border of several": np.s_[:, :9],
}


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", [0, -999, -32768])
@pytest.mark.parametrize("dtype", ["f4", "i4"])
def test_low_pixels_are_found_and_good_neighbours_are_not(place, value, dtype):
    image = sky() + 900  # a sky of 1000 with noise of 5
    where = np.zeros(image.shape, bool)
    where[PLACES[place]] = True
    image[where] = value
    image = image.astype(dtype).astype("f4")
    valid = np.ones(image.shape, bool)
    low = low_level([(image[None], valid[None])], WHITE, float(dtype == "i4"))
    judge = replace(detector(cosmic_rays=True), sky=1000.0, low=low)
    found = judge.find(image, valid)
    assert found[where].all()
    assert (found & ~where).sum() <= 2


@pytest.mark.slow
@pytest.mark.parametrize("place", ["twenty", "a column", "a block", "a border of several"])
@pytest.mark.parametrize(("value", "dtype"), [(0, "f4"), (-999, "f4"), (0, "u2")])
@pytest.mark.parametrize("recipe", ["astro-repair", "astro-denoise"])
def test_a_run_takes_low_pixels_and_no_good_ones_for_invalid(tmp_path, place, value, dtype, recipe):
    """A repair ruined 236 good neighbours of 20 dead pixels, 702 of a column and 377 of a border."""
    image = sky() + 900
    where = np.zeros(image.shape, bool)
    where[PLACES[place]] = True
    image[where] = value
    fits.writeto(tmp_path / "a.fits", image.round().astype(dtype) if dtype == "u2" else image)
    spec = SourceSpec(tmp_path / "a.fits")
    plan = make_plan(spec, load_recipe(recipe), recipe_name=recipe)
    source = open_source(spec, plan.findings)
    found = ~source.read(Box(0, 120, 0, 160)).valid[0]
    source.close()
    assert found[where].all()
    assert (found & ~where).sum() <= 2
    assert plan.noise.floor**0.5 == pytest.approx(5, rel=0.05)


@pytest.mark.parametrize("level", [-1000, 0, 3])
def test_low_pixels_are_found_below_a_sky_near_or_below_zero(level):
    image = sky() - 100 + level
    where = np.zeros(image.shape, bool)
    where[50, 60] = where[:, 100] = where[20:30, 20:30] = True
    image[where] = level - 999
    valid = np.ones(image.shape, bool)
    low = low_level([(image[None], valid[None])], WHITE, 0.0)
    found = replace(detector(cosmic_rays=True), sky=float(level), low=low).find(image, valid)
    assert found[where].all()
    assert (found & ~where).sum() <= 2


def test_rays_are_found_beside_a_dead_column():
    hit, where = rays(sky() + 900)
    hit[:, 70] = 0
    judge = replace(detector(cosmic_rays=True), sky=1000.0)
    found = judge.find(hit, np.ones(hit.shape, bool))
    where[:, 70] = False
    assert (found & where).sum() >= 0.9 * where.sum()


REGIONS = {
    "an overscan": np.s_[:, :30],
    "a narrow one": np.s_[:9],
    "an amplifier": np.s_[:, :80],
    "a block": np.s_[40:60, 80:100],
}


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("depth", [6, 12, 20, 40, 180])
def test_beside_a_lower_region_only_rays_are_found(region, depth):
    """Up to 352 good pixels beside it were taken for rays; the region has noise, and is not low itself."""
    quiet = sky(stars=0) + 900
    image, where = rays(quiet)
    low = np.zeros(image.shape, bool)
    low[REGIONS[region]] = True
    quiet[low] -= 5 * depth
    image[low] -= 5 * depth
    judge, valid = replace(detector(cosmic_rays=True), sky=1000.0), np.ones(low.shape, bool)
    assert judge.find(quiet, valid).sum() <= 2
    found = judge.find(image, valid)
    assert (found & ~dilate(where, 1)).sum() <= 4
    far = where & ~(dilate(low, 4) & dilate(~low, 4))
    assert (found & far).sum() >= 0.9 * far.sum()


def test_without_a_limit_for_the_whole_image_neighbours_are_still_spared():
    """A dead column that is no lower than the sky elsewhere, as in a gradient."""
    image = sky(stars=0) + 900
    image[:, 70:72] = 500
    judge = replace(detector(cosmic_rays=True), sky=1000.0)
    found = judge.find(image, np.ones(image.shape, bool))
    assert found[:, 70:72].all()
    assert found.sum() <= 2 * len(image) + 2


def test_no_pixel_of_a_scene_is_low():
    """Stars that touch, a steep gradient, a galaxy without noise to speak of: their slopes are smooth."""
    y, x = np.mgrid[:120, :160]
    galaxy = 5000 / (1 + ((y - 60) ** 2 + (x - 80) ** 2) / 100)
    rng = np.random.default_rng(0)
    quiet = NoiseModel(1e-4, 0.0, 0.0, False, "given")
    scenes = [
        (sky(stars=600, seed=3), WHITE, 100.0),
        (10.0 * x + rng.normal(0, 5, x.shape), WHITE, 800.0),
        (100 + galaxy + rng.normal(0, 0.01, x.shape), quiet, 200.0),
    ]
    for scene, noise, level in scenes:
        image, valid = scene.astype("f4"), np.ones(scene.shape, bool)
        low = low_level([(image[None], valid[None])], noise, 0.0)
        judge = replace(detector(cosmic_rays=True), noise=noise, sky=level, low=low)
        assert not low_pixels(image, valid, judge).any()


def test_an_image_without_noise_has_no_limit():
    silent = NoiseModel(0.0, 0.0, 0.0, False, "given")
    image = np.arange(6400.0).reshape(1, 80, 80)
    assert low_level([(image, np.ones(image.shape, bool))], silent, 0.0) == -np.inf


@pytest.mark.parametrize("box", [Box(0, 30, 0, 40), Box(25, 61, 33, 90), Box(118, 120, 60, 160)])
def test_low_pixels_do_not_depend_on_the_box(tmp_path, box):
    image = sky() + 900
    image[30, 40], image[:, 70:72], image[100:, 90:94] = 0, 800, 700
    fits.writeto(tmp_path / "a.fits", image)
    judge = replace(detector(cosmic_rays=True), sky=1000.0)
    source = DefectMaskedSource(open_source(SourceSpec(tmp_path / "a.fits")), judge)
    whole, part = source.read(Box(0, 120, 0, 160)), source.read(box)
    source.close()
    np.testing.assert_array_equal(part.found, whole.found[(slice(None), *box.slices)])
