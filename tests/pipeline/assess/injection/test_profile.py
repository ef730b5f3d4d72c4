"""Profiles of sources: where they are moved to, how wide they are, and how they are measured in an image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassplate.models.operators.psf import Psf
from glassplate.pipeline.assess.injection.profile import (
    PointSpread,
    Profile,
    given_psf,
    measured_psf,
    moffat,
)
from glassplate.pipeline.errors import UsageError


def centroid(values):
    t = np.arange(len(values)) - len(values) // 2
    return values.sum(1) @ t / values.sum(), values.sum(0) @ t / values.sum()


def gaussian(half, fwhm, dy=0.0, dx=0.0):
    t = np.arange(-half, half + 1)
    sigma = fwhm / 2.3548
    values = np.exp(-((t[:, None] - dy) ** 2 + (t - dx) ** 2) / (2 * sigma**2))
    return values / values.sum()


@given(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_a_moved_profile_is_the_profile_there(dy, dx):
    moved = Profile(gaussian(14, 3.5)).at(dy, dx)
    np.testing.assert_allclose(moved, gaussian(14, 3.5, dy, dx), atol=1e-5)
    assert moved.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(centroid(moved), (dy, dx), atol=1e-4)


def test_a_part_of_a_profile_is_its_middle():
    profile = Profile(gaussian(14, 3.5))
    np.testing.assert_array_equal(profile.at(0.3, -0.2, 5), profile.at(0.3, -0.2)[9:20, 9:20])


def test_the_derivative_is_that_of_the_width():
    profile = Profile(gaussian(16, 4.0))
    step = (gaussian(16, 4.02, 0.2, -0.3) - gaussian(16, 3.98, 0.2, -0.3)) / 0.01
    found = profile.derivative_of_width(0.2, -0.3, 16)
    assert np.abs(found.sum()) < 1e-3
    np.testing.assert_allclose(found, step, atol=0.06 * np.abs(step).max())


@pytest.mark.parametrize("exponent", [1.5, 3.0, 100.0])
def test_a_moffat_profile_has_its_width(exponent):
    values = moffat(40, 6.0, exponent)
    assert values[40, 43] == pytest.approx(values[40, 40] / 2)
    assert values.sum() == pytest.approx(1)


def test_a_galaxy_is_wider_than_a_star_and_centred():
    spread = PointSpread(Profile(gaussian(16, 4.0)), 4.0)
    for angle in (0.0, 0.7, 2.0):
        galaxy = spread.galaxy(angle).centred
        assert galaxy.sum() == pytest.approx(1)
        np.testing.assert_allclose(centroid(galaxy), (0, 0), atol=1e-6)
        assert 0.3 < galaxy.max() / spread.star.centred.max() < 0.8
    assert not np.allclose(spread.galaxy(0.0).centred, spread.galaxy(0.7).centred)


def test_a_given_psf_is_taken_as_it_is():
    spread = given_psf(Psf.of(gaussian(9, 3.0)))
    assert spread.fwhm == pytest.approx(3.0, abs=0.1)
    middle = spread.star.half
    np.testing.assert_allclose(
        spread.star.centred[middle - 9 : middle + 10, middle - 9 : middle + 10], gaussian(9, 3.0)
    )


def test_an_oblong_psf_is_completed_to_a_square():
    spread = given_psf(Psf.of(gaussian(9, 3.0)[5:-5]))
    assert spread.star.centred.shape[0] == spread.star.centred.shape[1]
    np.testing.assert_allclose(centroid(spread.star.centred), (0, 0), atol=1e-9)


def field(fwhm, stars=12, galaxies=3, seed=0, exponent=3.0):
    """Windows of a sky with stars of 100 to 1000 times the noise, a saturated one, galaxies, hot pixels."""
    rng = np.random.default_rng(seed)
    image = 1000 + rng.normal(0, 10, (256, 256))
    spread = PointSpread(Profile(moffat(30, fwhm, exponent)), fwhm)
    places = rng.permutation([(y, x) for y in range(35, 230, 37) for x in range(35, 230, 37)])
    for number, (y, x) in enumerate(places[: stars + 1 + galaxies]):
        dy, dx = rng.uniform(-0.5, 0.5, 2)
        light = spread.star if number < stars + 1 else spread.galaxy(0.5)
        flux = rng.uniform(1e3, 1e4) / light.centred.max()
        image[y - 30 : y + 31, x - 30 : x + 31] += flux * light.at(dy, dx)
        if number == stars:
            image[y - 4 : y + 5, x - 4 : x + 5] = 20000
    image[100, 5] = image[5, 200] = image[17, 17] = 9000
    return [(image[None].astype("f4"), np.ones((1, 256, 256), bool))]


@pytest.mark.parametrize("fwhm", [2.2, 3.0, 4.5])
def test_the_measured_width_is_that_of_the_stars(fwhm):
    spread = measured_psf(field(fwhm), "sky.fits")
    assert spread.fwhm == pytest.approx(fwhm, rel=0.05)
    assert spread.star.centred.sum() == pytest.approx(1)


def test_too_few_stars_are_refused():
    with pytest.raises(UsageError, match=r"sky\.fits: 2 bright single stars .* --psf FILE"):
        measured_psf(field(3.0, stars=2, galaxies=0), "sky.fits")
    nothing = np.zeros((1, 256, 256), "f4")
    with pytest.raises(UsageError, match="0 bright single stars"):
        measured_psf([(nothing, np.zeros(nothing.shape, bool))], "sky.fits")
