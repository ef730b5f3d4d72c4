"""The guard on faint sources: what is point-like in a residual is found, what is noise is not."""

import numpy as np
import pytest
import torch

from glassplate.models.estimate.faint_sources import FOOTPRINT, lost_sources
from glassplate.models.filters import gaussian_blur

N = 128


def tensor(a):
    return torch.from_numpy(np.ascontiguousarray(a, np.float32))[None, None]


def noise(seed=0, sigma=5.0):
    return sigma * np.random.default_rng(seed).standard_normal((N, N))


def star(y, x, significance, sigma=5.0, fwhm=2.5):
    """A source whose optimal filter sees it at so many standard deviations."""
    rows, columns = np.mgrid[:N, :N]
    shape = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * (fwhm / 2.355) ** 2))
    return significance * sigma * shape / np.sqrt((shape**2).sum())


def found(residual, sigma=5.0, valid=None, threshold=4.0):
    residual = tensor(residual)
    valid = torch.ones_like(residual, dtype=torch.bool) if valid is None else valid
    return lost_sources(residual, torch.full_like(residual, sigma), valid, threshold)[0, 0].numpy()


@pytest.mark.parametrize("fwhm", [1.5, 2.5, 4.0])
def test_a_star_left_in_the_residual_is_found_and_its_pixels_with_it(fwhm):
    near = found(noise() + star(40, 70, 8, fwhm=fwhm))
    assert near[40 - FOOTPRINT : 41 + FOOTPRINT, 70 - FOOTPRINT : 71 + FOOTPRINT].any()
    assert near[40, 70]
    assert near.sum() <= 2 * (2 * FOOTPRINT + 1) ** 2


def test_white_noise_raises_few_alarms():
    # maxima of a smooth normal field (Adler 1981): 0.01 above 5 in 128 x 128 pixels, 0.7 above 4
    assert sum(found(noise(seed), threshold=5).any() for seed in range(40)) <= 3


def test_a_noise_model_that_is_too_low_raises_no_alarm():
    assert np.array_equal(found(noise(3), sigma=1.0), found(noise(3)))


def test_what_is_fainter_than_the_noise_is_no_source():
    # nearly all came back, and what did not is structure: most of it is 0, its tail is long
    residual = 0.02 * noise(3) + np.where(np.random.default_rng(4).random((N, N)) < 0.05, 1.0, 0)
    assert not found(residual).any()


def test_correlated_noise_raises_no_more_alarms():
    smooth = [gaussian_blur(tensor(noise(seed)), 1.0)[0, 0].numpy() for seed in range(40)]
    assert sum(found(residual, threshold=5).any() for residual in smooth) <= 3


def test_a_dark_spot_is_no_source():
    assert not found(noise(1) - star(40, 70, 20)).any()


def test_what_is_not_valid_is_neither_seen_nor_given_back():
    residual = noise(1) + star(40, 70, 50)
    valid = np.ones((N, N), bool)
    valid[36:45, 66:75] = False
    assert not found(residual, valid=torch.from_numpy(valid)[None, None]).any()


@pytest.mark.parametrize("level", [0.0, 7.0])
def test_a_constant_residual_or_no_valid_pixel_is_no_source(level):
    assert not found(np.full((N, N), level)).any()
    nothing = torch.zeros(1, 1, N, N, dtype=torch.bool)
    assert not found(np.full((N, N), level), valid=nothing).any()
