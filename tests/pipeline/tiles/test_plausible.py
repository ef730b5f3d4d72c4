"""No restoration that is far from its measurement is blended: not as a whole, nor in a part."""

import re

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import FIT, level0, request

from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.sources.source import Pixels, SourceSpec
from glassplate.pipeline.tiles import batch as batch_module
from glassplate.pipeline.tiles.plausible import BLOCK, MOST_LEVEL, MOST_SHIFT, implausible

SIGMA, LEVEL = 5.0, 100.0


def noisy(seed=0, shape=(1, 60, 70)):
    scene = np.full(shape, LEVEL)
    return scene, scene + np.random.default_rng(seed).normal(0, SIGMA, shape)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    path = tmp_path_factory.mktemp("sky") / "sky.fits"
    fits.writeto(path, noisy()[1][0].astype("f4"))
    recipe = parse_recipe({**FIT, "noise": {"sigma": SIGMA}}, "test")
    return make_plan(SourceSpec(path), recipe, recipe_name="test", device="cpu")


def pixels(values, valid=None):
    good = np.ones(values.shape, bool) if valid is None else valid
    return Pixels(np.where(good, values, np.nan).astype("f4"), good)


@given(seed=st.integers(0, 10_000), holes=st.floats(0, 0.95))
@settings(max_examples=30)
def test_the_scene_itself_and_the_measurement_are_plausible(plan, seed, holes):
    scene, values = noisy(seed)
    valid = np.random.default_rng(seed + 1).random(values.shape) >= holes
    for restored in (scene, values):
        assert implausible(plan, pixels(values, valid), restored) is None


def test_a_window_without_a_valid_pixel_is_plausible(plan):
    scene, values = noisy()
    assert implausible(plan, pixels(values, np.zeros(values.shape, bool)), scene) is None


def test_a_window_smaller_than_a_block_is_compared_too(plan):
    scene, values = noisy(shape=(1, 5, 3))
    assert implausible(plan, pixels(values), scene) is None
    assert implausible(plan, pixels(values), scene + 10 * SIGMA) is not None


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda x: x + (MOST_LEVEL + 0.3) * SIGMA, r"channel 0 is \+3\.3 times the noise off"),
        (lambda x: x - (MOST_LEVEL + 0.3) * SIGMA, "channel 0 is -3.3 times the noise off"),
        # black and blown areas
        (
            lambda x: _set(x, (slice(16, 32), slice(32, 48)), 50),
            r"-(9.9|10) times.*row 16, column 32",
        ),
        (lambda x: _set(x, (slice(16, 32), slice(16, 32)), 160), r"\+12 times.*row 16"),
        # a strip along each border
        (lambda x: _set(x, (slice(0, 14), slice(None)), 20), "on the whole"),
        (lambda x: _set(x, (slice(0, 60), slice(54, 70)), 160), "times the noise"),
        (lambda x: _set(x, (slice(44, 60), slice(0, 16)), 50), "from row 44, column 0"),
        (lambda x: _set(x, (slice(3, 4), slice(3, 5)), np.nan), "2 of 4200 restored values"),
        (lambda x: _set(x, (slice(3, 4), slice(3, 4)), np.inf), "1 of 4200 restored values"),
    ],
)
def test_what_is_wrong_is_named(plan, spoil, expected):
    scene, values = noisy()
    fault = implausible(plan, pixels(values), spoil(scene.copy()))
    assert fault is not None
    assert re.search(expected, fault), fault


def _set(x, place, value):
    x[(0, *place)] = value
    return x


def test_texture_is_the_unit_where_the_noise_is_taken_for_too_little(plan):
    """A rough surface that a fit has smoothed is no fault: its level stays."""
    rng = np.random.default_rng(0)
    values = LEVEL + rng.normal(0, 40 * SIGMA, (1, 60, 70))
    assert implausible(plan, pixels(values), np.full(values.shape, LEVEL)) is None


def with_star(flux=2e5):
    scene, values = noisy()
    y, x = np.mgrid[:60, :70]
    star = np.exp(-((y - 25) ** 2 + (x - 40) ** 2) / 18)
    star *= flux / star.sum()
    return scene + star, values + star, star


def test_a_bright_star_may_be_off_by_a_share_of_its_light(plan):
    """Under a point-spread function that is not quite right it is, by more than the noise of its sky."""
    scene, values, star = with_star()
    assert 0.1 * star[16:32, 32:48].mean() > 1.5 * MOST_SHIFT * SIGMA
    assert implausible(plan, pixels(values), scene - 0.1 * star + 0.1 * star.mean()) is None
    assert implausible(plan, pixels(values), scene - 0.9 * star) is not None


def test_a_black_area_in_a_bright_one_is_named(plan):
    scene, values = noisy()
    bright = np.zeros_like(scene)
    bright[..., 32:] = 1000
    restored = _set(scene + bright, (slice(0, 16), slice(48, 64)), LEVEL + 300)
    fault = implausible(plan, pixels(values + bright), restored)
    assert fault is not None


def spoiled(monkeypatch, when):
    """Let fits come out with a black square where `when` says so, given the attempt at a window."""
    real, attempts = batch_module.fit_each, {}

    def fit_each(*args, **more):
        for window, found in real(*args, **more):
            tile = window.tile.index
            attempts[tile] = attempts.get(tile, 0) + 1
            if when(tile, attempts[tile]):
                found.values[0, :BLOCK, :BLOCK] -= 2 * MOST_SHIFT * SIGMA
            yield window, found

    monkeypatch.setattr(batch_module, "fit_each", fit_each)


@pytest.fixture
def sky(tmp_path):
    fits.writeto(tmp_path / "sky.fits", noisy(shape=(1, 48, 40))[1][0].astype("f4"))
    return tmp_path / "sky.fits"


def test_a_spoiled_tile_is_fitted_again_with_another_seed(sky, tmp_path, monkeypatch):
    spoiled(monkeypatch, lambda tile, attempt: tile == 1 and attempt == 1)
    raw = {**FIT, "noise": {"sigma": SIGMA}}
    summary = restore(request(sky, tmp_path / "out.zarr", raw), InlinePool())
    assert summary.status == "complete"
    lines = (tmp_path / "out.zarr/provenance/tiles.jsonl").read_text()
    assert '"kind":"implausible"' in lines
    assert np.abs(level0(tmp_path / "out.zarr") - LEVEL).max() < MOST_SHIFT * SIGMA


def test_a_tile_that_stays_spoiled_is_quarantined_with_its_reason(sky, tmp_path, monkeypatch):
    spoiled(monkeypatch, lambda tile, attempt: tile == 1)
    raw = {**FIT, "noise": {"sigma": SIGMA}}
    warnings = []
    run = request(sky, tmp_path / "out.zarr", raw)
    summary = restore(run, InlinePool(), lambda event: warnings.append(str(event)))
    assert summary.status == "partial"
    assert any("tile 1 is quarantined: channel 0 is -" in line for line in warnings)
    assert np.isnan(level0(tmp_path / "out.zarr")).any()
