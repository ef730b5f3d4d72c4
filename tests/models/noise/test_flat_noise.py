"""Noise before and after is that of flat places, whatever its grain and whatever lies beside them."""

import numpy as np
import pytest
from scipy import ndimage

from glassplate.models.noise.flat_noise import Comparison, flat_noise


def noise(sigma=4.0, radius=0.0, channels=1, side=160, seed=0):
    values = np.random.default_rng(seed).standard_normal((channels, side, side))
    if radius:
        values = ndimage.gaussian_filter(values, (0, radius, radius), mode="wrap")
    return values * (sigma / values.std())


def compared(before, after, valid=None):
    return flat_noise([Comparison(before, after, np.isfinite(before) if valid is None else valid)])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("radius", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("left", [1.0, 0.5, 0.1, 0.0])
def test_what_is_left_of_the_noise(left, radius, channels):
    values = noise(radius=radius, channels=channels)
    found = compared(100 + values, 100 + left * values)
    assert found.before == pytest.approx(4, rel=0.25)
    assert found.after == pytest.approx(left * found.before, abs=1e-6)


def test_white_noise_before_is_not_biased():
    assert compared(100 + noise(), np.full((1, 160, 160), 100.0)).before == pytest.approx(
        4, rel=0.04
    )


def test_noise_of_large_grains_is_seen_where_neighbours_hardly_differ():
    values = noise(radius=1.2)
    neighbours = np.diff(values, axis=-1).std() / np.sqrt(2)
    found = compared(100 + values, np.full_like(values, 100))
    assert neighbours < 2.5
    assert found.before > 1.3 * neighbours
    assert found.after < 1e-9


def test_texture_in_half_of_the_image_does_not_count():
    picture = np.full((1, 160, 160), 100.0)
    picture[..., 80:] += 40 * noise(1, radius=0.8)[..., 80:]
    found = compared(picture + noise(seed=1), picture)
    assert found.before == pytest.approx(4, rel=0.05)
    assert found.after < 0.1


def test_clipped_places_do_not_count():
    """Of the noise of white paper, clipping leaves little."""
    paper = np.full((1, 160, 160), 100.0)
    paper[..., 60:] = 255
    before = np.rint((paper + noise()).clip(0, 255))
    assert compared(before, paper).before == pytest.approx(4, rel=0.06)


def test_invalid_pixels_and_missing_results_are_left_out():
    before, after = 100 + noise(), 100 + 0.5 * noise()
    before[0, :40], after[0, -30:] = np.nan, np.nan
    found = compared(before, after)
    assert found.after == pytest.approx(found.before / 2)
    assert compared(before, np.full_like(before, np.nan)) is None
    assert compared(before, after, np.zeros(before.shape, bool)) is None


@pytest.mark.parametrize("exponent", [-600, 400])
def test_the_unit_does_not_matter(exponent):
    before, after = 100 + noise(), 100 + 0.5 * noise()
    usual = compared(before, after)
    scaled = compared(np.ldexp(before, exponent), np.ldexp(after, exponent))
    assert scaled == tuple(np.ldexp(usual, exponent))


def test_too_little_and_padding_are_none():
    assert flat_noise([]) is None
    assert compared(np.ones((1, 5, 9)), np.ones((1, 5, 9))) is None
    assert compared(np.ones((1, 50, 90)), np.ones((1, 50, 90))) is None
