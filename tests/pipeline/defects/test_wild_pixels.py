"""Wild pixels are invalid, are reported, and change nothing else; no star is wild."""

import re
from dataclasses import replace

import numpy as np
import pytest
import zarr
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from runs import FIT, request

from glassplate.pipeline.defects.wild_pixels import WildLimits, wild_limits
from glassplate.pipeline.events import Warned
from glassplate.pipeline.open_source import open_files, open_source
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.value_range import find_value_range
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.provenance.manifest import Spread, Summary
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.run.summary import summary_warnings
from glassplate.pipeline.source_findings import NOTHING_FOUND
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

WHOLE = (True, True, True, True)
RECIPE = parse_recipe(FIT, "t")
SUMMARY = Summary(
    noise_before=5.0,
    noise_after=1.0,
    noise_model="given",
    iterations=100.0,
    chi2=None,
    filled_pixels=0,
    stop_reasons={},
    fit_seconds=1.0,
    quarantined={},
)


def sky(shape=(90, 110), width=1.2, peak=2000.0, seed=0):
    """A sky of 10 with noise of 1, and stars of some width (standard deviation) up to a peak."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = rng.normal(10, 1, shape)
    for top in np.geomspace(20, peak, 8):
        row, col = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        image += top * np.exp(-((y - row) ** 2 + (x - col) ** 2) / (2 * width**2))
    return image.astype("f4")


def limits_of(image, **more):
    sample = (image[None], np.isfinite(image)[None])
    return wild_limits([sample], **{"sharp": True, "quantum": 0.0, **more})


def found_in(image, **more):
    return limits_of(image, **more).find(image, np.isfinite(image), WHOLE)


# where, and what is there: each kind of fault 2
FAULTS = {
    "one of 1e15": (np.s_[40, 50], 1e15),
    "one of 1e30": (np.s_[40, 50], 1e30),
    "one of -1e38": (np.s_[40, 50], -1e38),
    "in the corner": (np.s_[0, 0], 1e20),
    "a border of -1e30": (np.s_[:12, :], -1e30),
    "all but a third of it": (np.s_[:60, :], -1e30),
    "a hot pixel": (np.s_[41, 31], 65535),
    "dozens of them": ((np.arange(2, 86, 3), np.arange(2, 86, 3)), 65535),
    "a hot pair": (np.s_[41:43, 31], 65535),
    "a hot column": (np.s_[:, 31], 65535),
    "two of them": (np.s_[:, 31:33], 65535),
    "a hot row": (np.s_[70, :], 65535),
    "a hot edge": (np.s_[:, 0], 65535),
    "a hot block": (np.s_[30:40, 60:70], 65535),
    "a dead column far below": (np.s_[:, 31], -32768),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_all_wild_pixels_are_found_and_no_others(fault):
    image = sky(peak=200.0)
    place, value = FAULTS[fault]
    where = np.zeros(image.shape, bool)
    where[place] = True
    image[where] = value
    np.testing.assert_array_equal(found_in(image), where)


@pytest.mark.parametrize("width", [0.6, 0.8, 1.2, 3.0])
@pytest.mark.parametrize("peak", [2e3, 2e4, 2e6])
def test_no_star_is_wild(width, peak):
    """From under-sampled ones, 1.4 pixels wide (FWHM) with the wings that optics have, to a million sigma."""
    for seed in range(5):
        image = sky(width=width, peak=peak, seed=seed)
        wings = sky(width=4 * width, peak=0.03 * peak, seed=seed)
        assert not found_in(image + wings).any()


def test_a_negative_star_is_not_wild():
    assert not found_in(20 - sky(peak=3e4)).any()


def test_three_photons_among_zeros_are_not_wild():
    counts = np.random.default_rng(0).poisson(0.02, (80, 80)).astype("f4")
    counts[10, 10] = counts[40, 40] = 3
    counts[60, 60] = 30
    assert not found_in(counts, quantum=1.0).any()
    assert not found_in(counts).any()


def test_a_plate_enlarged_by_repeating_is_not_wild():
    """Differences between its neighbours are mostly 0 (a scan of the DSS)."""
    image = np.random.default_rng(0).normal(4000, 300, (40, 40)).round().repeat(3, 0).repeat(3, 1)
    assert not found_in(image, quantum=1.0).any()


def test_a_synthetic_image_without_noise_has_no_far_limit_below_its_stars():
    y, x = np.mgrid[:120, :120]
    image = 1e4 * np.exp(-((y - 40.0) ** 2 + (x - 50) ** 2) / 8)
    assert not found_in(image).any()


def look_at(spec, recipe=RECIPE):
    with open_files(spec) as files:
        return find_value_range(files, recipe)


@pytest.mark.slow
@given(st.integers(0, 80), st.integers(1, 40), st.integers(0, 100), st.integers(1, 40))
def test_wild_pixels_do_not_depend_on_the_box(tmp_path_factory, y, height, x, width):
    path = tmp_path_factory.getbasetemp() / "wild-boxes.fits"
    if not path.exists():
        image = sky()
        image[:, 31], image[5, :], image[60:72, 80:92], image[20, 20] = 65535, -5e3, 7e4, 1e30
        fits.writeto(path, image)
    spec = SourceSpec(path)
    source = open_source(spec, look_at(spec)[0])
    whole = source.read(Box(0, 90, 0, 110))
    box = Box(y, min(90, y + height), x, min(110, x + width))
    part = source.read(box)
    source.close()
    np.testing.assert_array_equal(part.valid, whole.valid[(slice(None), *box.slices)])
    assert whole.wild.sum() > 300
    assert not (whole.wild & whole.valid).any()


def test_in_colours_all_channels_are_wild_in_a_cube_one_plane(tmp_path):
    planes = np.stack([sky(seed=seed, peak=100.0) for seed in range(5)])
    planes[1, 40, 40] = 1e30
    valid = {}
    for name, image in (("colours", planes[:3]), ("cube", planes)):
        fits.writeto(tmp_path / f"{name}.fits", image)
        spec = SourceSpec(tmp_path / f"{name}.fits")
        source = open_source(spec, look_at(spec)[0])
        valid[name] = source.read(Box(40, 41, 40, 41)).valid.ravel().tolist()
        source.close()
    assert valid == {"colours": [False] * 3, "cube": [True, False, True, True, True]}


def test_photographs_of_integers_have_no_limits(tmp_path):
    import tifffile

    image = np.random.default_rng(0).normal(100, 3, (64, 64)).astype("u2")
    image[20, 20] = 65535
    tifffile.imwrite(tmp_path / "a.tif", image)
    spec = SourceSpec(tmp_path / "a.tif")
    assert look_at(spec) == (NOTHING_FOUND, [])


def test_a_float_tiff_has_only_a_far_limit(tmp_path):
    import tifffile

    image = np.random.default_rng(0).normal(0.5, 0.1, (64, 64)).astype("f4")
    image[20, 20], image[40, 40] = 900.0, -3.4028234663852886e38
    tifffile.imwrite(tmp_path / "a.tif", image)
    spec = SourceSpec(tmp_path / "a.tif")
    findings, [warning] = look_at(spec)
    source = open_source(spec, findings)
    valid = source.read(Box(0, 64, 0, 64)).valid[0]
    source.close()
    assert np.argwhere(~valid).tolist() == [[40, 40]]
    assert "sharper" not in warning


def test_task_identity_keeps_wild_values(tmp_path):
    image = sky()
    image[3, 3] = 1e30
    fits.writeto(tmp_path / "a.fits", image)
    spec = SourceSpec(tmp_path / "a.fits")
    assert look_at(spec, parse_recipe({**FIT, "task": "identity"}, "t")) == (NOTHING_FOUND, [])


@pytest.fixture
def wild(tmp_path):
    """A FITS with a pixel of 1e38, a hot column and a border of -1e30; and where they are."""
    image = sky((50, 70), peak=100.0)
    where = np.zeros(image.shape, bool)
    image[20, 20], image[:, 41], image[:3] = 3e38, 65535, -1e30
    where[20, 20] = where[:, 41] = where[:3] = True
    fits.writeto(tmp_path / "wild.fits", image)
    return tmp_path / "wild.fits", where


def test_they_change_neither_noise_nor_scaling_and_are_reported(wild):
    path, where = wild
    plan = make_plan(SourceSpec(path), RECIPE, recipe_name="t")
    assert 0.8 < plan.noise.variance(np.float64(10)) ** 0.5 < 1.2
    assert plan.transform.scale < 200
    [warning] = plan.warnings
    assert f"{where.sum()} of {where.size} pixels looked at" in warning
    assert "further than" in warning


@pytest.mark.slow
def test_they_have_no_value_in_the_result_and_are_counted(wild, tmp_path):
    path, where = wild
    events = []
    done = restore(request(path, tmp_path / "a.zarr", FIT), InlinePool(), events.append)
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="r")
    np.testing.assert_array_equal(np.isnan(group["0"][...]), where)
    assert np.isfinite(group["residual"][...][~where]).all()
    assert np.abs(group["0"][...][~where] - 10).max() < 1000
    assert done.summary.wild_pixels == where.sum()
    # a few iterations leave structure in the residual, but no values of 1e30
    assert done.summary.chi2.median < 1000
    told = [event.message for event in events if isinstance(event, Warned)]
    assert sum("taken for invalid" in line for line in told) == 1  # the plan looked at each of them


@pytest.mark.slow
def test_a_recipe_that_fills_fills_wild_pixels(wild, tmp_path):
    path, where = wild
    raw = {**FIT, "task": "inpaint", "donor": {"tiles": 0}}
    restore(request(path, tmp_path / "a.zarr", raw), InlinePool())
    before, after = (
        fits.getdata(path),
        zarr.open_group(str(tmp_path / "a.zarr"), mode="r")["0"][...],
    )
    np.testing.assert_array_equal(before != after, where)
    assert np.abs(after).max() < 1000


def test_a_resumed_run_has_the_limits_that_it_began_with(wild):
    plan = make_plan(SourceSpec(wild[0]), RECIPE, recipe_name="t")
    recorded = plan.recorded()
    assert plan.as_recorded(recorded).findings.limits == plan.findings.limits
    recorded.wild[0]["sigma"] = 3.0
    assert plan.as_recorded(recorded).findings.limits[0].sigma == 3.0


def test_limits_are_restored_from_json():
    limits = WildLimits(1.5, np.inf, 0.25)
    assert WildLimits.from_json(limits.to_json()) == limits
    assert limits.scaled(3).scaled(-3) == limits


@pytest.mark.parametrize(
    ("chi2", "said"),
    [
        (None, None),
        (1.0, None),
        (0.12, None),
        (9.0, None),
        (266000.0, r"chi2 is 2\.66e\+05.*fit\.iterations"),
        (0.04, r"chi2 is 0\.04.*hardly anything was removed"),
    ],
)
def test_a_chi2_far_from_one_causes_a_warning(tmp_path, chi2, said):
    median = None if chi2 is None else Spread(low=1.0, median=chi2, high=2.0)
    summary = replace(SUMMARY, chi2=median)
    lines = summary_warnings(tmp_path / "a.fits", summary, denoised=True)
    assert len(lines) == (said is not None)
    assert all(re.search(str(said), line) for line in lines)
    if chi2 is not None and chi2 < 1:
        assert summary_warnings(tmp_path / "a.fits", summary, denoised=False) == []


@pytest.mark.parametrize(
    ("count", "said"), [(1, "1 wild pixel in"), (2, "2 wild pixels in"), (0, None)]
)
def test_a_count_that_the_plan_did_not_give_is_said_at_the_end(wild, count, said):
    """Each run said the count twice, and spoke of "1 wild pixels"."""
    path, where = wild
    planned = make_plan(SourceSpec(path), RECIPE, recipe_name="t").warnings
    lines = summary_warnings(
        path, replace(SUMMARY, wild_pixels=count), denoised=True, planned=planned
    )
    assert [said in line for line in lines] == [True] * (said is not None)
    same = replace(SUMMARY, wild_pixels=int(where.sum()))
    assert summary_warnings(path, same, denoised=True, planned=planned) == []
    assert len(summary_warnings(path, same, denoised=True)) == 1
