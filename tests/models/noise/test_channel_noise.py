"""Channels with noise of their own are told from channels that are alike, brighter or textured."""

import numpy as np
import pytest

from glassplate.models.noise.estimate import estimate_noise
from glassplate.models.noise.model import NoiseSettings
from tests.models.noise.test_estimate import smooth, windows

AUTO = NoiseSettings()


def noisy(sigmas, level=100.0, side=256, seed=0):
    """White noise of each channel's sigma, (c, h, w)."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.normal(level, sigma, (side, side)) for sigma in sigmas])


def relative(sigmas):
    """Shares of variance that these standard deviations are."""
    variances = np.square(sigmas, dtype=np.float64)
    return variances / variances.mean()


@pytest.mark.parametrize("sigmas", [(5, 5, 10), (3, 6, 4), (10, 20, 40), (4, 8), (1, 2, 3, 4)])
def test_each_channel_has_its_share(sigmas):
    found = estimate_noise(windows(noisy(sigmas)), AUTO)
    assert found.shares == pytest.approx(relative(sigmas), rel=0.1)
    assert found.floor == pytest.approx(np.square(sigmas, dtype=float).mean(), rel=0.05)
    assert not found.correlated


@pytest.mark.parametrize("sigmas", [(5,), (5, 5, 5), (5, 5.5, 5), (5, 5, 5, 5, 20)])
def test_none_where_they_are_alike_or_no_colours(sigmas):
    assert estimate_noise(windows(noisy(sigmas)), AUTO).shares == ()


def test_correlated_noise_has_shares_too():
    grain = smooth(noisy((5, 5, 15)), (0.25, 0.5, 0.25))
    found = estimate_noise(windows(grain), AUTO)
    assert found.correlated
    assert found.shares == pytest.approx(relative((5, 5, 15)), rel=0.2)


def test_a_brighter_channel_has_the_noise_of_its_photons_and_no_share():
    rng = np.random.default_rng(1)
    ramp = np.linspace(50, 150, 256)[:, None]
    counts = np.stack([rng.poisson(factor * ramp + np.zeros(256)) for factor in (1, 4, 2)])
    found = estimate_noise(windows(counts.astype(float)), AUTO)
    assert found.slope == pytest.approx(1, rel=0.15)
    assert found.shares == ()


def test_channels_multiplied_by_white_balance_keep_noise_that_grows():
    rng = np.random.default_rng(1)
    ramp = np.linspace(20, 400, 256)[:, None] + np.zeros(256)
    counts = np.stack([gain * rng.poisson(ramp / gain) for gain in (1.0, 4.0, 1.0)])
    found = estimate_noise(windows(counts), AUTO)
    assert found.slope == pytest.approx(2, rel=0.2)
    assert found.shares == pytest.approx((0.5, 2.0, 0.5), rel=0.2)


@pytest.mark.parametrize("given", [{"sigma": 5.0}, {"gain": 1.0, "read_noise": 2.0}, {"gain": 1.0}])
def test_noise_that_is_given_is_that_of_all_channels(given):
    assert estimate_noise(windows(noisy((5, 5, 20))), NoiseSettings(**given)).shares == ()


def test_few_squares_do_not_tell_channels_apart():
    for seed in range(10):
        assert estimate_noise(windows(noisy((5, 5, 5), side=16, seed=seed)), AUTO).shares == ()


def test_clipped_channels_do_not_look_quiet():
    image = noisy((10, 10, 10), level=128.0)
    image[:2, :128] += 110  # the sky of a photograph, blown in two channels
    assert estimate_noise(windows(image.clip(0, 255).round()), AUTO).shares == ()
