"""The spectrum of the noise is found where there is nothing else."""

import numpy as np
import pytest
from scipy import ndimage

from glassplate.models.noise.correlation import lag1_from_spectrum
from glassplate.models.noise.noise_spectrum import (
    LOWEST_RADIUS,
    checkerboard,
    flatness,
    noise_spectrum,
    radius_of,
)
from glassplate.models.noise.spectra import square_spectra

SIDE = 8


def autoregressive(lag1, shape=(1, 256, 256), seed=0):
    noise = np.random.default_rng(seed).standard_normal(shape)
    for axis in (1, 2):
        lines = np.moveaxis(noise, axis, 0)
        for n in range(1, len(lines)):
            lines[n] = lag1 * lines[n - 1] + np.sqrt(1 - lag1**2) * lines[n]
    return noise


def expected(lag1):
    """Variance of each cosine coefficient of a square of such noise."""
    k = np.arange(SIDE)
    rows = np.cos(np.pi * np.outer(k, k + 0.5) / SIDE) * np.sqrt(2 / SIDE)
    rows[0] /= np.sqrt(2)
    along = np.diag(rows @ lag1 ** np.abs(np.subtract.outer(k, k)) @ rows.T)
    return np.outer(along, along).ravel()


def places(image):
    valid = np.ones(image.shape, bool)
    return square_spectra([(image, valid)], SIDE).mean_over_channels()


@pytest.mark.parametrize("lag1", [0.0, 0.3, 0.6])
def test_it_is_that_of_the_noise(lag1):
    found = noise_spectrum(places(100 + 5 * autoregressive(lag1)))
    measured = radius_of(SIDE) >= LOWEST_RADIUS
    ratio = found[measured] / (25 * expected(lag1)[measured])
    assert ratio.mean() == pytest.approx(1, abs=0.1)
    assert ratio.std() < 0.25


@pytest.mark.parametrize("lag1", [0.0, 0.3, 0.6])
def test_its_correlation_is_that_of_the_noise(lag1):
    found = lag1_from_spectrum(noise_spectrum(places(autoregressive(lag1))))
    # what a square of 8 pixels shows of a correlation that falls slowly is too little
    assert lag1 - 0.09 < found < lag1 + 0.03


def test_a_texture_on_half_of_the_image_does_not_matter():
    noise = 5 * autoregressive(0.5)
    textured = noise.copy()
    textured[:, 128:] += 60 * np.random.default_rng(1).standard_normal((1, 128, 256))
    alone, found = noise_spectrum(places(noise)), noise_spectrum(places(textured))
    assert (found / alone).mean() == pytest.approx(1, abs=0.12)


def test_noise_alone_is_flat_and_the_choice_does_not_bias_the_other_half():
    of_places = places(autoregressive(0.0))
    spectrum = np.ones(SIDE**2)
    for half in checkerboard(SIDE):
        score = flatness(of_places, spectrum, half)
        assert score.mean() == pytest.approx(1, abs=0.03)
        chosen = np.argsort(score)[: len(score) // 50]
        other = ~half & (radius_of(SIDE) > 0)
        assert of_places[chosen][:, other].mean() == pytest.approx(1, abs=0.1)


def test_the_halves_are_the_whole():
    one, other = checkerboard(SIDE)
    assert (one ^ other).all()
    assert one.sum() == other.sum()


def test_places_that_are_constant_at_some_frequencies_leave_it_positive():
    """JPEG leaves no power at high frequencies."""
    of_places = places(autoregressive(0.5))
    of_places[:, radius_of(SIDE) > 5] = 0
    assert (noise_spectrum(of_places) > 0).all()


@pytest.mark.parametrize("level", [0.0, 1e3, 1e5])
def test_the_level_of_the_image_does_not_matter(level):
    """Weak powers were once lifted to a share of that of the level: noise of 10 at 1000 was 8.4, lag 0.34."""
    noise = 10 * autoregressive(0.6)
    at_zero, found = (noise_spectrum(places(noise + offset)) for offset in (0.0, level))
    np.testing.assert_allclose(found[1:], at_zero[1:], rtol=1e-3)


@pytest.mark.parametrize(("radius", "lag1", "least"), [(0.7, 0.58, 0.93), (1.0, 0.77, 0.9)])
def test_smooth_noise_is_found_on_a_bright_ground(radius, lag1, least):
    noise = ndimage.gaussian_filter(
        np.random.default_rng(0).standard_normal((256, 256)), radius, mode="wrap"
    )
    image = 1000 + 10 * noise[None] / noise.std()
    found = noise_spectrum(places(image))
    assert least < np.sqrt(found.mean()) / 10 < 1.05
    assert lag1_from_spectrum(found) == pytest.approx(lag1, abs=0.03)
