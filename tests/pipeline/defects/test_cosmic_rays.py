"""The detection of defects is local, finds those of made images, and spares stars and texture."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import zarr
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from rays import detector, rays, sky
from runs import FIT, UntidyPool, digest, level0, request

from glassplate.models.noise.model import NoiseModel
from glassplate.pipeline.cached_source import cached_source
from glassplate.pipeline.defects.cosmic_rays import DefectSettings, Detector
from glassplate.pipeline.defects.medians import dilate, median
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.source_findings import SourceFindings
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box


class TestSpecks:
    def test_finds_dust_and_scratches_and_nothing_else(self):
        rng = np.random.default_rng(0)
        y, x = np.mgrid[:100, :120]
        scene = 500 + 3 * x + 40 * np.sin(y / 9)
        damaged, where = scene.copy(), np.zeros(scene.shape, bool)
        where[20:24, 30:33] = where[:, 80:82] = where[60, 10:60] = True
        damaged[where] += 300
        values = (damaged + rng.normal(0, 5, scene.shape)).astype("f4")
        found = detector(specks="bright", grow=0).find(values, np.ones(scene.shape, bool))
        np.testing.assert_array_equal(found, where)

    @pytest.mark.parametrize(
        ("side", "bright", "dark"),
        [("none", False, False), ("bright", True, False), ("dark", False, True), ("both", 1, 1)],
    )
    def test_finds_dark_or_bright_specks_as_set(self, side, bright, dark):
        values = np.random.default_rng(0).normal(100, 5, (40, 40)).astype("f4")
        values[10, 10], values[30, 30] = 300, -100
        found = detector(specks=side, grow=0).find(values, np.ones(values.shape, bool))
        assert found[10, 10] == bright
        assert found[30, 30] == dark
        assert found.sum() == bright + dark

    def test_grow_includes_the_edges(self):
        values = np.full((30, 30), 100, "f4")
        values[10, 10] = 300
        found = detector(specks="both", grow=2).find(values, np.ones(values.shape, bool))
        assert np.argwhere(found).min(0).tolist() == [8, 8]
        assert found.sum() == 25

    def test_texture_raises_its_own_threshold(self):
        rng = np.random.default_rng(0)
        values = rng.normal(100, 5, (60, 60))
        values[:, 30:] += rng.normal(0, 60, (60, 30))
        found = detector(specks="both").find(values.astype("f4"), np.ones(values.shape, bool))
        # at the border between the two, half of the surroundings are quiet
        assert not found[:, :20].any()
        assert not found[:, 40:].any()

    def test_a_step_of_integers_is_not_a_speck(self):
        values = np.full((30, 30), 100, "f4")
        values[10, 10] = 101
        quiet = NoiseModel(0.0, 0.0, 0.0, False, "given")
        whole = np.ones(values.shape, bool)
        assert (
            not Detector(DefectSettings(specks="both"), quiet, 1.0, 100.0).find(values, whole).any()
        )
        assert Detector(DefectSettings(specks="both"), quiet, 0.0, 100.0).find(values, whole).any()


class TestCosmicRays:
    def test_finds_rays_and_spares_stars(self):
        hit, where = rays(sky())
        found = detector(cosmic_rays=True).find(hit, np.ones(hit.shape, bool))
        assert (found & where).sum() >= 0.9 * where.sum()
        assert (found & ~dilate(where, 1)).sum() <= 2

    def test_finds_nothing_without_rays(self):
        image = sky(seed=5)
        assert not detector(cosmic_rays=True).find(image, np.ones(image.shape, bool)).any()

    def test_the_level_of_the_sky_does_not_matter(self):
        hit, _ = rays(sky())
        judge, valid = detector(cosmic_rays=True), np.ones(hit.shape, bool)
        low = replace(judge, sky=-20.0).find(hit - 120, valid)
        assert (judge.find(hit, valid) ^ low).mean() < 1e-3


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 100), st.integers(1, 60), st.integers(0, 140), st.integers(1, 60))
@pytest.mark.parametrize(
    "asked",
    [
        {"cosmic_rays": True},
        {"specks": "both", "speck_radius": 4},
        {"specks": "dark", "speck_radius": 20, "cosmic_rays": True},
    ],
)
def test_the_defects_do_not_depend_on_the_box(asked, y, height, x, width):
    hit, _ = rays(sky((130, 170)))
    valid = np.random.default_rng(2).random(hit.shape) > 0.01
    judge = detector(**asked)
    whole = judge.find(hit, valid)
    box = Box(y, min(y + height, 130), x, min(x + width, 170))
    around = box.grown(judge.margin, hit.shape)
    part = judge.find(hit[around.slices], valid[around.slices])
    inner = box.relative_to(around).slices
    np.testing.assert_array_equal(part[inner], whole[box.slices])


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
def test_the_sliding_median_is_that_of_numpy(height, width, radius):
    values = np.random.default_rng(height * 10 + width).normal(size=(height, width)).astype("f4")
    wide = np.pad(values, radius, mode="symmetric")
    span = 2 * radius + 1
    along_columns = np.array(
        [[np.median(wide[r : r + span, c + radius]) for c in range(width)] for r in range(height)],
        "f4",
    )
    wide = np.pad(along_columns, radius, mode="symmetric")
    expected = [
        [np.median(wide[r + radius, c : c + span]) for c in range(width)] for r in range(height)
    ]
    np.testing.assert_allclose(median(values, radius), expected, rtol=1e-6)


def test_invalid_pixels_are_ignored():
    values = np.full((40, 40), 100, "f4")
    valid = np.ones(values.shape, bool)
    values[10:14, 10:14], valid[10:14, 10:14] = 5000, False
    for asked in ({"specks": "both"}, {"cosmic_rays": True}):
        assert not detector(**asked).find(values, valid).any()
        assert not detector(**asked).find(values, np.zeros_like(valid)).any()


@pytest.fixture
def frame(tmp_path):
    """A FITS of stars and rays, and where the rays are."""
    hit, where = rays(sky((60, 70), stars=8), count=5)
    fits.writeto(tmp_path / "frame.fits", hit)
    return tmp_path / "frame.fits", where


REPAIR = {**FIT, "task": "inpaint", "defects": {"cosmic_rays": True}, "donor": {"tiles": 0}}


@pytest.mark.slow
def test_a_repair_changes_only_the_rays(frame, tmp_path):
    path, where = frame
    restore(request(path, tmp_path / "a.zarr", REPAIR), InlinePool())
    before, after = fits.getdata(path), level0(tmp_path / "a.zarr")
    changed = before != after
    assert (changed & where).sum() >= 0.9 * where.sum()
    assert (changed & ~dilate(where, 1)).sum() <= 2
    assert np.isfinite(after).all()


@pytest.mark.slow
def test_denoising_fills_defects_and_keeps_other_invalid_pixels(frame, tmp_path):
    path, where = frame
    image = fits.getdata(path).copy()
    image[:3, :5] = np.nan
    fits.writeto(tmp_path / "holed.fits", image)
    raw = {**FIT, "defects": {"cosmic_rays": True}}
    restore(request(tmp_path / "holed.fits", tmp_path / "a.zarr", raw), InlinePool())
    restored = level0(tmp_path / "a.zarr")
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="r")
    filled, residual = group["filled"][...] > 0, group["residual"][...]
    np.testing.assert_array_equal(np.isnan(restored), np.isnan(image))
    assert not filled[:3, :5].any()
    assert (filled & where).sum() >= 0.9 * where.sum()
    assert (filled & ~dilate(where, 1)).sum() <= 2
    # the step is reversible, the rays included
    known = np.isfinite(image)
    np.testing.assert_allclose((restored + residual)[known], image[known], rtol=1e-5)


@pytest.mark.slow
def test_an_interrupted_repair_ends_with_the_same_result(frame, tmp_path):
    restore(request(frame[0], tmp_path / "a.zarr", REPAIR), InlinePool())
    with pytest.raises(KeyboardInterrupt):
        restore(request(frame[0], tmp_path / "b.zarr", REPAIR), UntidyPool(3, interrupt_after=3))
    restore(request(frame[0], tmp_path / "b.zarr", REPAIR), UntidyPool(4))
    assert digest(tmp_path / "a.zarr") == digest(tmp_path / "b.zarr")


def test_a_resumed_run_detects_with_the_noise_that_it_began_with(frame):
    plan = make_plan(SourceSpec(frame[0]), parse_recipe(REPAIR, "t"), recipe_name="t")
    assert plan.findings.detector.noise == plan.noise
    recorded = plan.recorded()
    recorded = replace(recorded, defect_noise=replace(recorded.noise, floor=9.0))
    assert plan.as_recorded(recorded).findings.detector.noise.floor == 9.0
    # early runs recorded one noise for everything
    early = replace(recorded, defect_noise=None, noise=replace(recorded.noise, floor=4.0))
    assert plan.as_recorded(early).findings.detector.noise.floor == 4.0


def test_colours_have_the_defects_of_their_mean_and_planes_their_own(tmp_path):
    image = np.random.default_rng(0).normal(100, 5, (3, 40, 40)).astype("f4")
    image[1, 20, 20] = 1000
    valid = {}
    for name, planes in (("colours", image), ("cube", np.concatenate([image, image[:2]]))):
        fits.writeto(tmp_path / f"{name}.fits", planes)
        spec = SourceSpec(tmp_path / f"{name}.fits")
        findings = SourceFindings(detector=detector(specks="both", grow=0))
        source = open_source(spec, findings)
        valid[name] = source.read(Box(0, 40, 0, 40)).valid[:, 20, 20].tolist()
        assert cached_source(spec, findings).shape == planes.shape
        source.close()
    assert valid["colours"] == [False, False, False]
    assert valid["cube"] == [True, False, True, True, False]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"defects": {"speck_radius": 0}}, "speck_radius 0 must be 1 to 50"),
        ({"defects": {"grow": -1}}, "grow -1 must be 0 to 20"),
        ({"defects": {"cosmic_sigma": 0}}, "cosmic_sigma 0.* must be above 0"),
        ({"defects": {"specks": "grey"}}, "defects.specks is 'grey'"),
        ({"defects": {"dust": True}}, "unknown key 'defects.dust'"),
        ({"task": "identity", "defects": {"specks": "both"}}, "not identity; drop them"),
    ],
)
def test_impossible_settings(raw, message):
    with pytest.raises(UsageError, match=message):
        parse_recipe(raw, "t")


MEASURE = """
import numpy as np
from glassplate.models.noise.model import NoiseModel
from glassplate.pipeline.defects.cosmic_rays import DefectSettings, Detector
import astroscrappy

def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))

detector = Detector(DefectSettings({asked}), NoiseModel(25.0, 0.0, 0.0, False, "given"), 0.0, 100.0)
side = 512 + 2 * detector.margin
values = np.random.default_rng(0).normal(100, 5, (side, side)).astype("f4")
valid = np.ones(values.shape, bool)
before = peak()
detector.find(values, valid)
print(peak() - before, detector.projected_bytes((512, 512), 1))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("asked", ["cosmic_rays=True", "specks='both'"])
def test_projected_memory_covers_measured(asked):
    script = MEASURE.format(asked=asked)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    measured, projected = map(int, ran.stdout.split())
    assert measured <= projected
