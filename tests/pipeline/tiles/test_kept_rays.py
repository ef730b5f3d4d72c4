"""What was taken for a cosmic ray is never filled with far more light than was measured."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import zarr
from astropy.io import fits
from rays import WHITE, rays, sky
from runs import FIT, level0, request

from glassplate.pipeline.events import Warned
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.source_findings import SourceFindings
from glassplate.pipeline.sources.source import Pixels
from glassplate.pipeline.tiles import kept_rays as kept_rays_module
from glassplate.pipeline.tiles.finish import finish
from glassplate.pipeline.tiles.kept_rays import kept_rays

PLAN = SimpleNamespace(layout=SimpleNamespace(mixes=False), noise=WHITE)  # noise of 5
NAN = np.nan


def pixels(values, ray, variance=None):
    values = np.array(values, "f4").reshape(1, 1, -1)
    found = np.array(ray, bool).reshape(values.shape)
    if variance is not None:
        variance = np.full(values.shape, variance, "f4")
    return Pixels(values, ~found, variance, found=found, rays=found)


@pytest.mark.parametrize(
    ("restored", "values", "ray", "variance", "kept"),
    [
        # a star whose flanks alone were found; a ray; its faint end
        ([1880, 120, 104], [1054, 900, 100], [1, 1, 1], None, [1, 0, 0]),
        ([126, 124], [100, 100], [1, 1], None, [1, 0]),
        ([126, 124], [100, 100], [0, 0], None, [0, 0]),
        ([111, 109], [100, 100], [1, 1], 4.0, [1, 0]),
        ([-74, -76], [-100, -100], [1, 1], None, [1, 0]),
        ([NAN, NAN], [100, 100], [1, 0], None, [0, 0]),
    ],
)
def test_a_ray_stays_where_its_fill_is_brighter_than_noise_explains(
    restored, values, ray, variance, kept
):
    estimate = np.array(restored, "f8").reshape(1, 1, -1)
    found = kept_rays(PLAN, estimate, pixels(values, ray, variance))
    np.testing.assert_array_equal(found.ravel(), np.array(kept, bool))


def test_a_finished_region_holds_the_measurement_of_what_is_kept():
    made = SimpleNamespace(
        layout=SimpleNamespace(mixes=False, scale=1, dtype="float32"),
        recipe=parse_recipe({"task": "denoise"}, "test"),
        noise=WHITE,
        flux_factor=1.0,
        white=None,
        to_fill=lambda pixels: pixels.found,
        fits=True,
        findings=SourceFindings(),
        differences_in_source_units=lambda values: values,
    )
    restored = np.array([1880, 120, 90], "f8").reshape(1, 1, -1)
    given = pixels([1054, 900, 100], [1, 1, 0])
    np.testing.assert_array_equal(finish(made, restored, given).ravel(), [1054, 120, 90])
    np.testing.assert_array_equal(restored.ravel(), [1880, 120, 90])


def test_none_is_kept_where_no_ray_was_sought_or_pixels_are_mixed():
    bright = np.full((1, 2, 4), 1e6)
    plain = Pixels(np.zeros((1, 1, 2), "f4"), np.ones((1, 1, 2), bool))
    assert not kept_rays(PLAN, bright[:, :1, :2], plain).any()
    mixing = SimpleNamespace(layout=SimpleNamespace(mixes=True), noise=WHITE)
    kept = kept_rays(mixing, bright, pixels([1, 2], [1, 1]))
    assert kept.shape == (1, 1, 2)
    assert not kept.any()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["denoise", "inpaint"])
def test_what_is_kept_is_as_measured_in_no_map_of_the_filled_and_reported(
    tmp_path, monkeypatch, task
):
    hit, _ = rays(sky((60, 70), stars=8), count=5)
    hit[20, 30] = -500  # a dead pixel is filled with more light, as it should
    fits.writeto(tmp_path / "frame.fits", hit)
    # every ray counts as too bright a fill
    monkeypatch.setattr(kept_rays_module, "EXCESS", -1e6)
    raw = {**FIT, "task": task, "defects": {"cosmic_rays": True}, "donor": {"tiles": 0}}
    raw["fit"] = {**FIT["fit"], "uncertainty": True}
    events = []
    done = restore(
        request(tmp_path / "frame.fits", tmp_path / "a.zarr", raw), InlinePool(), events.append
    )
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="r")
    restored, filled = level0(tmp_path / "a.zarr"), group["filled"][...] > 0
    assert np.argwhere(filled).tolist() == [[20, 30]]
    assert restored[20, 30] > 0
    assert done.summary.filled_pixels == 1
    assert done.summary.kept_rays > 10
    assert (restored == hit).sum() >= done.summary.kept_rays
    sigma = group["uncertainty"][...]
    assert np.isfinite(sigma[20, 30])
    if task == "denoise":
        assert np.isnan(sigma).sum() == done.summary.kept_rays
        # another restored pixel may be what was measured by chance
        assert (restored == hit)[np.isnan(sigma)].all()
        assert (group["residual"][...][np.isnan(sigma)] == 0).all()
    [told] = [e.message for e in events if isinstance(e, Warned) and "look like" in e.message]
    assert re.search(rf": {done.summary.kept_rays} pixels look like cosmic rays but hold", told)


@pytest.mark.slow
def test_real_rays_are_filled_and_none_is_kept(tmp_path):
    hit, where = rays(sky((60, 70), stars=8), count=5)
    fits.writeto(tmp_path / "frame.fits", hit)
    raw = {**FIT, "defects": {"cosmic_rays": True}, "donor": {"tiles": 0}}
    done = restore(request(tmp_path / "frame.fits", tmp_path / "a.zarr", raw), InlinePool())
    assert done.summary.kept_rays == 0
    assert done.summary.filled_pixels >= 0.9 * where.sum()
