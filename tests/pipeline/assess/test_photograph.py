"""Figures of photographs: what was done to tone, colour, edges and noise is what is found."""

import numpy as np
import pytest
from assessed import made_result

from glassplate.models.colour import delta_e_2000, lightness, srgb_to_lab
from glassplate.pipeline.assess.assessment import assess_result
from glassplate.pipeline.assess.edges import EdgeSums

SHAPE = (160, 192)


def page(shape=SHAPE):
    """A grey page with dark squares, 8 bits."""
    image = np.full(shape, 200.0)
    for y in range(20, shape[0] - 40, 60):
        for x in range(25, shape[1] - 40, 60):
            image[y : y + 30, x : x + 30] = 60
    return image


def softened(image):
    """The image after a filter of 1 2 1 along both axes."""
    for axis in (-2, -1):
        image = (np.roll(image, 1, axis) + 2 * image + np.roll(image, -1, axis)) / 4
    return image


def levels(image):
    return np.rint(image).clip(0, 255).astype(np.uint8)


def photograph(folder, given, estimate, **more):
    found = assess_result(made_result(folder, levels(given), levels(estimate), **more))
    return found.photograph, found


def with_noise(image, sigma, seed=0):
    return image + np.random.default_rng(seed).normal(0, sigma, image.shape)


def test_an_unchanged_photograph_changes_nothing(tmp_path):
    found, whole = photograph(tmp_path, softened(page()), softened(page()))
    assert (found.tone.shift, found.tone.rms, found.tone.largest) == (0, 0, 0)
    assert found.colour.mean_difference == found.colour.largest_difference == 0
    assert found.edges.overshoot_before == found.edges.overshoot_after < 0.005
    assert found.edges.rise_before == found.edges.rise_after
    assert found.noise.before == found.noise.after == 0
    assert found.tone.blocks == 30
    assert sum(band.blocks for band in found.tone.bands) == 30
    changes = [row.change for row in whole.fadgi if row.change is not None]
    assert len(changes) == 8, "all but the white balance of a grey image"
    assert set(changes) == {0.0}


def test_a_lighter_result_is_lighter_by_its_lightness(tmp_path):
    given, darker = np.full(SHAPE, 100.0), np.full(SHAPE, 110.0)
    darker[32:64, 64:96] = 130
    found, whole = photograph(tmp_path, given, darker)
    shift = lightness(np.array([110, 130]) / 255) - lightness(np.array(100 / 255))
    assert found.tone.shift == pytest.approx((29 * shift[0] + shift[1]) / 30, rel=1e-3)
    assert found.tone.largest == pytest.approx(shift[1], rel=1e-3)
    assert found.tone.largest_at == (32, 64)
    assert found.tone.rms == pytest.approx(
        np.sqrt((29 * shift[0] ** 2 + shift[1] ** 2) / 30), rel=1e-3
    )
    (band,) = (band for band in found.tone.bands if band.blocks)
    assert (band.low, band.high, band.blocks) == (40, 50, 30)
    assert any("lighter by 4.3 L*" in cause for cause in whole.causes), whole.causes
    assert any("the largest change of tone is at row 32, column 64" in c for c in whole.causes)


def test_noise_alone_changes_no_tone(tmp_path):
    """A mean of L* would be lower where there is noise, since L* is concave."""
    dark = np.full(SHAPE, 20.0)
    found, _ = photograph(tmp_path, with_noise(dark, 6), dark)
    assert abs(found.tone.shift) < 0.1


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_changed_colour_is_different_by_its_difference(tmp_path, channel):
    given = np.full((3, *SHAPE), 120.0)
    changed = given.copy()
    changed[channel] += 12
    found, whole = photograph(tmp_path, given, changed)
    labs = [srgb_to_lab(image[:, 0, 0] / 255) for image in (given, changed)]
    assert found.colour.mean_difference == pytest.approx(float(delta_e_2000(*labs)), rel=1e-3)
    assert found.colour.neutral_blocks == 30
    assert found.colour.neutral_before == pytest.approx((0, 0), abs=0.01)
    assert found.colour.neutral_after == pytest.approx(tuple(labs[1][1:]), abs=0.01)
    (a, b) = (row for row in whole.fadgi if row.measure == "white balance")
    assert (a.change, b.change) == pytest.approx(tuple(labs[1][1:]), abs=0.01)
    assert any("dE2000 on average" in cause for cause in whole.causes)


def test_a_strong_colour_is_not_neutral(tmp_path):
    red = np.stack([np.full(SHAPE, 200.0), np.full(SHAPE, 60.0), np.full(SHAPE, 60.0)])
    found, whole = photograph(tmp_path, red, red)
    assert found.colour.neutral_blocks == 0
    assert found.colour.neutral_before is None
    assert {row.change for row in whole.fadgi if row.measure == "white balance"} == {None}


def test_sharpening_overshoots_and_blur_widens(tmp_path):
    soft = softened(page())
    sharp = soft + 1.0 * (soft - softened(softened(soft)))
    (tmp_path / "sharp").mkdir()
    (tmp_path / "soft").mkdir()
    found, whole = photograph(tmp_path / "sharp", soft, sharp)
    assert found.edges.overshoot_before < 0.005
    assert 0.05 < found.edges.overshoot_after < 0.3
    assert found.edges.overshoot_after == pytest.approx(found.edges.undershoot_after, abs=0.02)
    assert found.edges.rise_after < found.edges.rise_before
    assert any("the restoration made halos" in cause for cause in whole.causes)
    found, whole = photograph(tmp_path / "soft", soft, softened(softened(soft)))
    assert found.edges.overshoot_after < 0.005
    assert found.edges.rise_after > 1.2 * found.edges.rise_before
    assert any("they were softened" in cause for cause in whole.causes)


def test_the_rise_of_an_edge_is_that_of_its_slope():
    """A ramp of 10 pixels rises from 10 to 90 % over 8, at whatever part of a pixel it begins."""
    columns = np.arange(64.0)
    starts = np.linspace(26, 27, 80, endpoint=False)[:, None]
    rising = 0.2 + 0.6 * ((columns - starts) / 10).clip(0, 1)
    for image in (rising, 1 - rising, rising[:, ::-1]):
        sums = EdgeSums(noise=0.0)
        sums.add(image, image)
        edges = sums.figures()
        assert edges.count == 80
        assert edges.rise_before == pytest.approx(8, abs=0.15)
        assert edges.overshoot_before == pytest.approx(0, abs=1e-3)


def test_noise_is_no_overshoot():
    rng = np.random.default_rng(0)
    image = np.where(np.arange(64) < 32, 0.3, 0.7) + rng.normal(0, 0.02, (300, 64))
    sums = EdgeSums(noise=0.02)
    sums.add(image, image)
    assert sums.figures().overshoot_before < 0.01


def test_a_few_edges_say_nothing():
    image = np.where(np.arange(64) < 32, 0.3, 0.7) * np.ones((20, 1))
    sums = EdgeSums(noise=0.0)
    sums.add(image, image)
    assert sums.figures() is None


def test_noise_of_flat_patches_is_that_of_the_flat_ones(tmp_path):
    _, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    scene = np.full(SHAPE, 120.0) + 40 * np.sin(x / 3) * (x > 64)
    given = with_noise(scene, 4)
    found, whole = photograph(tmp_path, given, scene, noise=4.0)
    slope = (lightness(np.array(121 / 255)) - lightness(np.array(119 / 255))) / 2
    assert found.noise.before == pytest.approx(4 * slope, rel=0.07)
    assert found.noise.after < 0.1
    (row,) = (row for row in whole.fadgi if row.measure == "noise")
    assert (row.before, row.after, row.needs) == (found.noise.before, found.noise.after, None)
    assert row.change == pytest.approx(found.noise.after - found.noise.before, rel=1e-3)


def test_noise_that_stays_is_named(tmp_path):
    given = with_noise(np.full(SHAPE, 120.0), 6)
    _, whole = photograph(tmp_path, given, given, noise=6.0)
    assert any("hardly any was removed" in cause for cause in whole.causes)


def test_levels_of_a_photograph_are_equal_parts_of_its_range(tmp_path):
    _, whole = photograph(tmp_path, with_noise(page(), 3), page(), noise=3.0)
    levels_ = whole.residual.by_level
    assert [level.low for level in levels_] == [255 / 8 * n for n in range(8)]
    assert sum(level.pixels for level in levels_) == page().size
    assert {level.chi2 is not None for level in levels_ if level.pixels > 99} == {True}


def test_measures_that_need_a_target_are_not_computed(tmp_path):
    _, whole = photograph(tmp_path, page(), page())
    unknown = whole.fadgi[-5:]
    assert [row.measure for row in unknown] == [
        "sampling frequency",
        "reproduction scale",
        "illuminance non-uniformity",
        "colour misregistration",
        "spatial frequency response",
    ]
    assert all(row.before is row.after is row.change is None and row.needs for row in unknown)


class TestDifferenceOfColours:
    def colours(self, seed):
        return srgb_to_lab(np.random.default_rng(seed).random((3, 3000)))

    def test_is_that_of_scikit_image(self):
        color = pytest.importorskip("skimage.color")
        first, second = self.colours(0), self.colours(1)
        theirs = color.deltaE_ciede2000(first.T, second.T)
        np.testing.assert_allclose(delta_e_2000(first, second), theirs, atol=1e-9)
        near = first + np.random.default_rng(2).normal(0, 1, first.shape)
        theirs = color.deltaE_ciede2000(first.T, near.T)
        np.testing.assert_allclose(delta_e_2000(first, near), theirs, atol=1e-9)

    def test_is_symmetrical_and_zero_for_the_same(self):
        first, second = self.colours(0), self.colours(1)
        np.testing.assert_allclose(delta_e_2000(first, second), delta_e_2000(second, first))
        assert not delta_e_2000(first, first).any()

    @pytest.mark.parametrize(
        ("first", "second", "difference"),
        [  # Sharma, Wu and Dalal 2005, table 1: pairs 1, 4, 7, 9, 17 and 24
            ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
            ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
            ((50, 0, 0), (50, -1, 2), 2.3669),
            ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
            ((50, 2.5, 0), (73, 25, -18), 27.1492),
            ((50, 2.5, 0), (50, 3.2592, 0.335), 1.0000),
        ],
    )
    def test_is_that_of_the_published_pairs(self, first, second, difference):
        found = delta_e_2000(np.array(first), np.array(second))
        assert float(found) == pytest.approx(difference, abs=1e-4)
