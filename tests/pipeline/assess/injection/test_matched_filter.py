"""The matched filter is exact for what it assumes, and the same at a place and in a map."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassplate.pipeline.assess.injection.matched_filter import (
    fitted_flux,
    fitted_stretch,
    flux_map,
    peaks,
    scatter,
)
from glassplate.pipeline.assess.injection.profile import Profile, moffat

PROFILE = Profile(moffat(16, 3.5, 3.0))


@given(st.floats(-1e4, 1e4), st.floats(-1e5, 1e5), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_a_source_on_a_level_has_its_flux(flux, level, dy, dx):
    light = PROFILE.at(dy, dx, 7)
    assert fitted_flux(flux * light + level, light) == pytest.approx(flux, abs=1e-6)


@pytest.mark.parametrize("stretch", [-0.05, 0.0, 0.05])
def test_a_wider_source_has_its_stretch(stretch):
    wide = moffat(16, 3.5 * (1 + stretch), 3.0)[9:24, 9:24]
    light, change = PROFILE.at(0, 0, 7), PROFILE.derivative_of_width(0, 0, 7)
    found = fitted_stretch(200 * wide + 3, light, change) / fitted_flux(200 * wide + 3, light)
    assert found == pytest.approx(stretch, abs=0.012)


def test_the_map_is_the_fit_at_every_place():
    image = np.random.default_rng(0).normal(50, 3, (24, 31))
    light = PROFILE.at(0, 0, 4)
    found = flux_map(image, light)
    assert found.shape == (16, 23)
    expected = [
        [fitted_flux(image[y : y + 9, x : x + 9], light) for x in range(23)] for y in range(16)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_the_map_is_unknown_around_invalid_pixels_only():
    image = np.random.default_rng(0).normal(50, 3, (24, 31))
    light = PROFILE.at(0, 0, 4)
    whole = flux_map(image, light)
    image[10, 12] = np.nan
    found = flux_map(image, light)
    unknown = np.zeros(found.shape, bool)
    unknown[2:11, 4:13] = True
    np.testing.assert_array_equal(np.isnan(found), unknown)
    np.testing.assert_allclose(found[~unknown], whole[~unknown], atol=1e-8)


@given(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_a_source_is_a_peak_at_its_place(dy, dx):
    image = np.full((33, 33), 7.0) + 400 * PROFILE.at(dy, dx)
    first, *others = peaks(flux_map(image, PROFILE.at(0, 0, 7)), 10)
    assert (first.dy, first.dx) == pytest.approx((dy, dx), abs=0.1)
    # at half a pixel from a place of the map
    assert first.flux == pytest.approx(400, rel=0.1)
    assert others == []


def test_peaks_below_the_threshold_and_on_the_border_are_none():
    fluxes = np.zeros((9, 9))
    fluxes[0, 3], fluxes[4, 6], fluxes[6, 2] = 9, 5, 3
    (found,) = peaks(fluxes, 4)
    assert (found.dy, found.dx, found.flux) == (0, 2, 5)


def test_the_scatter_is_that_of_most_values():
    values = np.random.default_rng(0).normal(5, 2, 20000)
    values[:500] = 1e6
    values[500:700] = np.nan
    assert scatter(values) == pytest.approx(2, rel=0.05)
    assert np.isnan(scatter(np.full(3, np.nan)))
