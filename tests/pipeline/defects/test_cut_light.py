"""Light that a border or an invalid pixel cuts is no defect; what is seen to be one there is found."""

from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rays import WHITE, detector, gaussian, measured, moffat, sky, stars_along_borders

from glassplate.pipeline.defects.beside_unknown import not_judged
from glassplate.pipeline.defects.low_pixels import low_level
from glassplate.pipeline.defects.medians import continued_median, median
from glassplate.pipeline.defects.wild_pixels import wild_limits
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.source_findings import SourceFindings
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

WHOLE = (True, True, True, True)
PROFILES = {"gaussian": gaussian, "moffat": moffat}
# light of a star's pixel, in standard deviations of the noise
OF_A_STAR = 1.0


def marked(light, valid=None, seed=0, **settings):
    """How many pixels of stars count as defects, of any kind that is sought in star fields."""
    image = measured(light, seed)
    valid = np.ones(image.shape, bool) if valid is None else valid
    image[~valid] = 0
    judge = detector(cosmic_rays=True, **settings)
    # what is sought by a limit of the whole image, too
    sample = [(image[None], valid[None])]
    judge = replace(judge, low=low_level(sample, WHITE, 0.0))
    found = judge.find(image, valid)
    found |= wild_limits(sample, sharp=True, quantum=0.0).find(image, valid, WHOLE)
    return int((found & (light > OF_A_STAR * 5)).sum())


class TestStarsAtBorders:
    @pytest.mark.parametrize("profile", PROFILES)
    @pytest.mark.parametrize("width", [2.5, 3.0, 4.0, 5.0])
    def test_none_near_a_border_is_marked(self, profile, width):
        """Of these Gaussian and Moffat stars, 290 and 72 pixels were marked at 2.5 pixels, 142 and 15 at 3.

        The fourth row and column from a border needed no contrast, and defects grew from there.
        """
        for seed in range(2):
            light = stars_along_borders(PROFILES[profile], width, (-3, 9), seed)
            assert marked(light, seed=seed) == 0

    @pytest.mark.parametrize("profile", PROFILES)
    def test_none_that_is_cut_is_marked_however_sharp(self, profile):
        """L.A.Cosmic takes stars of 2 pixels' width for rays anywhere; a contrast of 5 spares them."""
        for seed in range(2):
            light = stars_along_borders(PROFILES[profile], 2.0, (-3, 1), seed)
            assert marked(light, seed=seed, cosmic_contrast=5.0) == 0

    @pytest.mark.parametrize("beyond", [0.0, 1.0, 2.0, 3.0, 3.25])
    def test_none_beyond_a_border_is_wild(self, beyond):
        """A Gaussian whose centre is 3 pixels beyond leaves 0.8 % of its first row in the second."""
        y, x = np.mgrid[:60, :80]
        image = measured(2e7 * gaussian((y + beyond) ** 2 + (x - 40.3) ** 2, 2.0))
        for turned in (image, image[::-1], image.T, image.T[:, ::-1]):
            valid = np.ones(turned.shape, bool)
            limits = wild_limits([(turned[None], valid[None])], sharp=True, quantum=0.0)
            assert limits.may_be_sharp(turned).any()
            assert not limits.find(turned, valid, WHOLE).any()


def cutting_masks(light):
    """Valid pixels for masks of several shapes, among them the cores of bright stars."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: light.shape[0], : light.shape[1]]
    discs, columns, blocks = (np.ones(light.shape, bool) for _ in range(3))
    for _ in range(20):
        row, col, radius = rng.uniform(0, 96), rng.uniform(0, 128), rng.uniform(1, 8)
        discs &= (y - row) ** 2 + (x - col) ** 2 > radius**2
    for first in range(8, 128, 16):
        columns[:, first : first + rng.integers(1, 4)] = False
    blocks[20:50, 30:60] = blocks[70:, 90:] = False
    return {
        "discs": discs,
        "columns": columns,
        "blocks": blocks,
        "a slanting edge": 0.37 * x + y > 40,
        "cores": light < 2000,
        "saturated pixels": light < 10000,
        "single pixels": rng.random(light.shape) > 0.02,
    }


MASKS = tuple(cutting_masks(np.zeros((96, 128))))


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("width", [3.0, pytest.param(4.0, marks=pytest.mark.slow), 5.0])
@pytest.mark.parametrize("mask", MASKS)
def test_no_star_beside_invalid_pixels_is_marked(profile, width, mask):
    """All fields of 3 pixels' width had 4 to 41 pixels marked, with those at the borders of the image."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:96, :128]
    light = np.zeros(y.shape)
    for row, col in zip(rng.uniform(0, 96, 40), rng.uniform(0, 128, 40), strict=True):
        peak = np.exp(rng.uniform(np.log(60), np.log(6e4)))
        light += peak * PROFILES[profile]((y - row) ** 2 + (x - col) ** 2, width)
    assert marked(light, cutting_masks(light)[mask]) == 0


def tracks(kind, first, seed):
    """Where sharp tracks lie: one every 12 pixels along each border, in the row `first` from it."""
    rng = np.random.default_rng(seed)
    where = np.zeros((120, 160), bool)
    for turned in (where, where[::-1], where.T, where.T[::-1]):
        for place in range(10, turned.shape[1] - 14, 12):
            steps = np.arange(1 if kind == "single pixels" else rng.integers(2, 6))
            down = steps * (kind != "along the border")
            aside = steps * (kind != "across it") if kind != "single pixels" else steps
            turned[first + down, place + aside] = True
    return where


def share_found(where, valid=None, seed=0):
    """Share of the pixels of rays on a field of stars that are found, in the rows and pixels asked for."""
    rng = np.random.default_rng(seed)
    hit = sky(where.shape, seed=seed)
    hit[where] += rng.uniform(100, 2000, where.sum()).astype("f4")
    valid = np.ones(where.shape, bool) if valid is None else valid
    found = detector(cosmic_rays=True).find(np.where(valid, hit, 0).astype("f4"), valid)
    return (found & where & valid).sum() / (where & valid).sum()


# share of the pixels of rays that was found before and is found now, by the first row of the ray
SHARES = {
    "single pixels": {
        0: (0, 0.938),
        1: (0, 0.925),
        2: (0, 0.95),
        3: (0.975, 0.95),
        30: (0.988, 0.988),
    },
    "across it": {0: (0.21, 0.93), 1: (0.403, 0.916), 2: (0.681, 0.94), 30: (0.989, 0.989)},
    "slanting": {0: (0.221, 0.954), 1: (0.428, 0.958), 2: (0.702, 0.968), 30: (0.982, 0.982)},
    # in the first row, only the ends of a track are seen to end
    "along the border": {0: (0, 0.252), 1: (0, 0.923), 2: (0, 0.965), 30: (0.979, 0.979)},
}


class TestRays:
    @pytest.mark.slow
    @pytest.mark.parametrize("kind", SHARES)
    def test_as_many_rays_are_found_at_a_border_as_measured(self, kind):
        for first, (_, now) in SHARES[kind].items():
            found = [share_found(tracks(kind, first, seed), seed=seed) for seed in range(2)]
            assert np.mean(found) == pytest.approx(now, abs=0.03), first

    @pytest.mark.parametrize(("bad", "now"), [(0.01, 0.960), (0.1, 0.892)])
    def test_as_many_rays_are_found_beside_bad_pixels_as_measured(self, bad, now):
        """Before, 0.899 and 0.433: no pixel that touches an invalid one was found."""
        valid = np.random.default_rng(5).random((120, 160)) > bad
        where = np.zeros(valid.shape, bool)
        for first in (20, 40, 60):
            where |= tracks("slanting", first, first)
        assert share_found(where, valid) == pytest.approx(now, abs=0.03)

    def test_what_is_not_seen_to_end_is_not_judged(self):
        image = np.full((9, 12), 100, "f4")
        known = np.ones(image.shape, bool)
        known[:2], known[-2:], known[:, :2], known[:, -2:] = False, False, False, False
        image[2, 5], image[2, 8] = 500, 500  # a ray; a star, or a ray that goes on
        image[2, 9] = 250
        image[6, 3:10] = 500  # as high as wide: along the border
        judged = ~not_judged(image, known)
        assert judged[2, 5]
        assert judged[2, 4]  # no brighter than the ray that it touches
        assert not judged[2, 8:10].any()
        assert not judged[6, 5:8].any()


def planned_detector(path, recipe):
    """The detector that a run would have, and all pixels of the image."""
    plan = make_plan(SourceSpec(path), load_recipe(recipe), recipe_name=recipe)
    source = open_source(SourceSpec(path), SourceFindings())
    pixels = source.read(Box(0, source.shape[1], 0, source.shape[2]))
    source.close()
    return plan.findings.detector, pixels


def test_no_star_at_the_border_of_m13_is_marked():
    """The sky image of the demo: before, 28 pixels of four stars in rows 3 to 5, filled with up to twice."""
    path = resources.files("astropy").joinpath("io/fits/hdu/compressed/tests/data/m13.fits")
    if not path.is_file():
        pytest.skip("astropy is here without its test data")
    judge, _ = planned_detector(Path(str(path)), "astro-denoise")
    assert judge is None, "its grain is as smooth as a ray would be"
    judge, pixels = planned_detector(Path(str(path)), "astro-repair")
    found = judge.find(pixels.values[0], pixels.valid[0])
    assert not found[:9].any()
    assert found.sum() == found[9:-9, 9:-9].sum()
    # 13 where the noise was that of flat places, among them a faint star
    assert found.sum() == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "found"),
    [
        # before 37 pixels of stars, four pixels from the borders
        ("pairs/2mass_m17_overlap/s1430092*", 0),
        # before 8 of 17 pixels of a ray that crosses the border
        ("pairs/decam_i_2nights/DEC-OBS04e*", 17),
    ],
)
def test_rays_at_borders_of_real_images(real_data, name, found):
    (path,) = (real_data / "astro").glob(name)
    judge, pixels = planned_detector(path, "astro-repair")
    valid = pixels.valid[0]
    near = valid.copy()
    near[6:-6, 6:-6] = False
    assert (judge.find(pixels.values[0], valid) & near).sum() == found


def disc(row, col, radius=15.0):
    y, x = np.mgrid[:80, :100]
    return np.hypot(y - row, x - col) <= radius


class TestSpecks:
    @pytest.mark.parametrize("depth", range(1, 10))
    def test_an_object_that_is_cut_is_no_speck(self, depth):
        """All 46 pixels were, of a disc of 30 pixels that shows four rows at a border or beside a hole."""
        hole = np.ones((80, 100), bool)
        hole[5 : 40 - depth] = False
        for where, valid in (
            (disc(depth - 16, 50), True),
            (disc(95 - depth, 50), True),
            (disc(40, depth - 16), True),
            (disc(40, 115 - depth), True),
            (disc(24, 50), hole),
        ):
            image = measured(200.0 * where)
            found = detector(specks="both", grow=0).find(image, np.broadcast_to(valid, image.shape))
            # the tip of a disc is narrow, there as elsewhere
            assert (found & where).sum() <= 1
            assert (found & ~where).sum() == 0

    @pytest.mark.parametrize("width", range(1, 8))
    def test_a_margin_is_no_speck(self, width):
        image = np.zeros((80, 100))
        image[:width] = image[-width:] = image[:, :width] = 200
        image = measured(image)
        assert not detector(specks="both").find(image, np.ones(image.shape, bool)).any()

    def test_dust_and_scratches_are_found_up_to_the_border(self):
        where = np.zeros((80, 100), bool)
        where[:3, 20:24] = where[50:54, -2:] = where[:, 70] = where[4, 10:40] = True
        valid = np.ones(where.shape, bool)
        valid[30:40, 40:60], where[28:30, 50:53], valid[60] = False, True, False
        found = detector(specks="both", grow=0).find(measured(200.0 * where), valid)
        np.testing.assert_array_equal(found, where & valid)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.sampled_from([0.0, 0.2, 0.6]))
def test_in_the_continued_median_what_is_cut_goes_on(height, width, radius, missing):
    rng = np.random.default_rng(height * 10 + width)
    values = rng.normal(size=(height, width)).astype("f4")
    values[rng.random(values.shape) < missing] = np.nan

    def of_line(line):
        result = np.full(len(line), np.nan, "f4")
        for place in np.flatnonzero(np.isfinite(line)):
            seen = [line[place]]
            for step in (-1, 1):
                last = line[place]
                for there in place + step * np.arange(1, radius + 1):
                    if 0 <= there < len(line) and np.isfinite(line[there]):
                        last = line[there]
                    seen.append(last)
            result[place] = np.median(seen)
        return result

    expected = np.apply_along_axis(of_line, 1, np.apply_along_axis(of_line, 0, values))
    np.testing.assert_array_equal(continued_median(values, radius), expected)


def test_both_medians_agree_away_from_borders():
    values = np.random.default_rng(0).normal(size=(30, 40)).astype("f4")
    inner = np.s_[3:-3, 3:-3]
    np.testing.assert_array_equal(continued_median(values, 3)[inner], median(values, 3)[inner])
