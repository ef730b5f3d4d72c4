"""The isotropic wavelet transform: complete, without direction, and its noise as published."""

import numpy as np
import pytest
import torch

from glassplate.models.wavelets import (
    correlated_sigma,
    returned_variance,
    smoothed,
    wavelet_planes,
    white_sigma,
    white_skewness,
)


def noise(side, seed=0):
    values = np.random.default_rng(seed).standard_normal((1, 1, side, side))
    return torch.from_numpy(values)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (5, 3), (40, 33)])
def test_planes_and_remainder_sum_to_the_image(shape):
    x = torch.rand(2, 3, *shape, dtype=torch.float64)
    smooth = x
    for scale in range(4):
        smooth = smoothed(smooth, scale)
    total = sum(wavelet_planes(x, 4)) + smooth
    torch.testing.assert_close(total, x)


def test_a_constant_has_no_structure_and_a_mirrored_image_mirrored_planes():
    assert all(
        plane.abs().max() < 1e-12 for plane in wavelet_planes(torch.ones(1, 1, 20, 30).double(), 4)
    )
    x = noise(32)
    for plane, mirrored in zip(
        wavelet_planes(x, 3), wavelet_planes(x.flip(-1).transpose(-1, -2), 3), strict=True
    ):
        torch.testing.assert_close(mirrored, plane.flip(-1).transpose(-1, -2))


def test_white_noise_is_as_published():
    # Starck & Murtagh 2002, "Astronomical Image and Data Analysis", table 2.1
    published = (0.889, 0.200, 0.086, 0.041, 0.020)
    assert [white_sigma(scale) for scale in range(5)] == pytest.approx(published, rel=0.04)


def test_noise_is_what_is_simulated():
    x = noise(512)
    along = 0.4
    for axis in (-1, -2):  # a separable autoregressive process
        parts = [x.select(axis, 0)]
        for place in range(1, 512):
            parts.append(along * parts[-1] + (1 - along**2) ** 0.5 * x.select(axis, place))
        x = torch.stack(parts, axis)
    for scale, plane in enumerate(wavelet_planes(x, 4)):
        assert float(plane.std()) == pytest.approx(correlated_sigma(scale, along), rel=0.06)
    assert correlated_sigma(2, 0.0) == pytest.approx(white_sigma(2), rel=1e-6)


def test_skewness_is_what_is_simulated():
    photons = torch.from_numpy(np.random.default_rng(1).poisson(2.0, (1, 1, 700, 700)) - 2.0)
    plane = wavelet_planes(photons.double(), 1)[0]
    skewness = float((plane**3).mean() / (plane**2).mean() ** 1.5)
    assert skewness == pytest.approx(white_skewness(0) / 2**0.5, rel=0.05)


@pytest.mark.parametrize("scales", [(0,), (2,), (1, 2), (0, 1, 2, 3)])
def test_what_comes_back_through_some_scales_is_what_is_simulated(scales):
    white, steps = noise(384), 4
    x = torch.zeros_like(white)
    for _ in range(steps):
        planes = wavelet_planes(white - x, 4)
        x = x + sum(planes[scale] for scale in scales)
    expected = returned_variance(scales, steps, 0.0)
    assert float(x.square().mean()) == pytest.approx(expected, rel=0.1)
    assert 0 < expected < 1
