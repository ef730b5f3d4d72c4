"""Rays that are too many are none: what is found so are photons, or sources."""

import numpy as np
import pytest
from astropy.io import fits
from rays import detector, rays, sky

from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.ray_share import MOST_RAYS, TOO_MANY_RAYS, rays_are_few
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.sources.source import SourceSpec


def sample_of(image):
    return (image[None], np.ones((1, *image.shape), bool))


@pytest.mark.parametrize(("count", "few"), [(0, True), (12, True), (800, False)])
def test_many_rays_are_none(count, few):
    image, where = rays(sky(), count)
    assert bool(where.mean() <= MOST_RAYS) is few
    assert rays_are_few([sample_of(image)], detector(cosmic_rays=True)) is few


def test_an_image_without_valid_pixels_has_few():
    values, valid = sample_of(sky())
    assert rays_are_few([], detector(cosmic_rays=True))
    assert rays_are_few([(np.full_like(values, np.nan), ~valid)], detector(cosmic_rays=True))


@pytest.mark.parametrize(("count", "looks"), [(12, True), (1200, False)])
def test_a_plan_looks_for_rays_by_itself_only_if_they_are_few(tmp_path, count, looks):
    # of 12 times the noise: brighter ones would count as narrow stars
    image = sky()
    image[rays(image, count)[1]] += 60
    fits.writeto(tmp_path / "a.fits", image)
    spec = SourceSpec(tmp_path / "a.fits")
    for setting, wanted in (("auto", looks), ("true", True)):
        recipe = load_recipe("astro-denoise", [f"defects.cosmic_rays={setting}"])
        plan = make_plan(spec, recipe, recipe_name="astro-denoise", device="cpu")
        assert (plan.findings.detector is not None) is wanted
        # what is left undone is said
        assert (TOO_MANY_RAYS in plan.warnings) is not wanted
