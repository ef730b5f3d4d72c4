"""Figures of merit agree with their definitions and with scikit-image, over valid pixels only."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from glassplate.models.metrics import (
    SSIM_RADIUS,
    chi2,
    flux_ratio,
    mad_sigma,
    mse,
    psnr,
    ssim,
    ssim_sum,
)


@pytest.fixture(scope="module")
def pair():
    clean = data.camera()[100:220, 150:290] / 255
    noisy = clean + np.random.default_rng(0).normal(0, 0.1, clean.shape)
    return noisy, clean


@pytest.fixture(scope="module")
def colours():
    clean = data.astronaut()[:90, 200:290].transpose(2, 0, 1) / 255
    return clean + np.random.default_rng(0).normal(0, 0.1, clean.shape), clean


class TestAgainstScikitImage:
    def test_psnr(self, pair):
        noisy, clean = pair
        expected = peak_signal_noise_ratio(clean, noisy, data_range=1.0)
        assert psnr(noisy, clean, 1.0) == pytest.approx(expected, abs=1e-9)

    @pytest.mark.parametrize("data_range", [1.0, 0.3])
    def test_ssim(self, pair, data_range):
        expected = structural_similarity(
            *pair,
            data_range=data_range,
            gaussian_weights=True,
            use_sample_covariance=False,
            sigma=1.5,
        )
        assert ssim(*pair, data_range) == pytest.approx(expected, abs=1e-3)

    def test_ssim_of_colours(self, colours):
        expected = structural_similarity(
            *colours,
            data_range=1.0,
            gaussian_weights=True,
            use_sample_covariance=False,
            channel_axis=0,
        )
        assert ssim(*colours, 1.0) == pytest.approx(expected, abs=1e-3)


class TestValid:
    @pytest.mark.parametrize("figure", [
        lambda x, r, v: mse(x, r, v),
        lambda x, r, v: psnr(x, r, 1.0, v),
        lambda x, r, v: ssim(x, r, 1.0, v),
        lambda x, r, v: chi2(x, r, 0.01, v),
        lambda x, r, v: flux_ratio(x, r, v),
    ])  # fmt: skip
    @pytest.mark.parametrize("bad", [1e12, math.nan, math.inf])
    def test_invalid_pixels_have_no_influence(self, pair, figure, bad):
        noisy, clean = pair
        valid = np.ones(clean.shape, bool)
        valid[10:20, 30:50] = False
        expected = figure(np.where(valid, noisy, 0.5), np.where(valid, clean, 0.5), valid)
        assert math.isfinite(expected)
        assert figure(np.where(valid, noisy, bad), clean, valid) == expected
        assert figure(noisy, np.where(valid, clean, bad), valid) == expected

    def test_nan_is_invalid_without_a_valid_map(self, pair):
        noisy, clean = pair
        valid = np.random.default_rng(0).random(clean.shape) > 0.1
        assert mse(np.where(valid, noisy, np.nan), clean) == mse(noisy, clean, valid)

    def test_without_valid_pixels_figures_are_nan(self):
        nothing = np.full((20, 20), np.nan)
        figures = [mse(nothing, nothing), ssim(nothing, nothing, 1.0), mad_sigma(nothing)]
        figures += [flux_ratio(nothing, nothing), chi2(nothing, nothing, 1.0)]
        assert np.isnan(figures).all()


class TestDefinitions:
    def test_equal_images(self, pair):
        _, clean = pair
        assert psnr(clean, clean, 1.0) == math.inf
        assert ssim(clean, clean, 1.0) == pytest.approx(1)
        assert flux_ratio(clean, clean) == 1

    def test_float32_is_summed_in_float64(self):
        x = np.full(3_000_000, 1e4, np.float32)
        x[::2] += 1
        assert mse(x, np.full_like(x, 1e4)) == 0.5
        assert flux_ratio(x, np.full_like(x, 1e4)) == pytest.approx(1.00005, rel=1e-12)

    @pytest.mark.slow
    @given(st.floats(0.1, 10), st.floats(-100, 100))
    def test_chi2_of_noise_is_one(self, sigma, level):
        x = np.full((80, 80), level)
        y = x + np.random.default_rng(0).normal(0, sigma, x.shape)
        assert chi2(y, x, sigma**2) == pytest.approx(1, abs=0.06)
        assert chi2(y, x, np.full(x.shape, sigma**2)) == pytest.approx(1, abs=0.06)

    def test_pixels_without_noise_do_not_count(self):
        y, x = np.array([3.0, 8.0]), np.array([1.0, 2.0])
        assert chi2(y, x, np.array([4.0, 0.0])) == 1

    @pytest.mark.parametrize("shape", [(300, 300), (3, 150, 150)])
    def test_mad_sigma_is_the_noise(self, shape):
        ramp = np.linspace(0, 30, shape[-1])
        noisy = ramp + np.random.default_rng(0).normal(0, 3, shape)
        noisy[..., 50:60, 70:90] = np.nan
        noisy[..., 20, 20] = 1e9
        assert mad_sigma(noisy) == pytest.approx(3, rel=0.03)

    def test_the_flux_ratio_to_no_light_is_nan(self):
        assert math.isnan(flux_ratio(np.ones((4, 4)), np.zeros((4, 4))))

    @pytest.mark.parametrize("shape", [(10, 40), (40, 10), (1, 1)])
    def test_ssim_of_an_image_smaller_than_its_window_is_nan(self, shape):
        assert math.isnan(ssim(np.ones(shape), np.ones(shape), 1.0))

    def test_ssim_adds_up_over_bands(self, pair):
        noisy, clean = pair
        cut = 61
        bands = [slice(0, cut + SSIM_RADIUS), slice(cut - SSIM_RADIUS, None)]
        sums = np.array([ssim_sum(noisy[b], clean[b], 1.0) for b in bands]).sum(0)
        np.testing.assert_allclose(sums, ssim_sum(noisy, clean, 1.0), rtol=1e-9)
