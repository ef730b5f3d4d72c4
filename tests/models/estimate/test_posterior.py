import numpy as np
import pytest
import torch

from glassplate.models.estimate.posterior import (
    posterior_mean,
    posterior_through,
    posterior_variance,
)
from glassplate.models.operators.blur import Blur
from glassplate.models.operators.downsample import Downsample
from glassplate.models.operators.kernels import KERNELS
from glassplate.models.operators.operator import Composition
from glassplate.models.operators.psf import Psf


def scene(seed=0, n=96, sigma=5.0, texture=10.0):
    """Left half smooth and known to the prior, right half with texture that the prior does not see."""
    rng = np.random.default_rng(seed)
    truth = np.full((n, n), 100.0)
    truth[:, n // 2 :] += texture * rng.standard_normal((n, n // 2))
    y = truth + sigma * rng.standard_normal((n, n))
    as_tensor = [torch.from_numpy(a)[None, None] for a in (truth, y, np.full((n, n), 100.0))]
    return (*as_tensor, torch.full((1, 1, n, n), sigma**2, dtype=torch.float64))


class TestPosteriorMean:
    def test_texture_comes_back_and_smooth_parts_stay(self):
        truth, y, mu, variance = scene()
        valid = torch.ones_like(y, dtype=torch.bool)
        x = posterior_mean(mu, y, variance, valid, 3.0)
        smooth, rough = slice(0, 36), slice(60, 96)
        error = (x - truth).square()
        # 25 and 0 without a prior and without the measurement; Bayes' own risk is 0 and 20
        assert error[..., smooth].mean() < 1.0
        assert abs(error[..., rough].mean() - 25 * 100 / 125) < 2.0

    def test_gain_grows_from_nothing_to_all(self):
        _, y, mu, variance = scene()
        valid = torch.ones_like(y, dtype=torch.bool)
        torch.testing.assert_close(posterior_mean(mu, y, 1e9 * variance, valid, 3.0), mu)
        torch.testing.assert_close(
            posterior_mean(mu, y, 1e-9 * variance, valid, 3.0), y, rtol=1e-6, atol=1e-6
        )

    def test_without_noise_the_measurement_is_the_answer(self):
        _, y, mu, variance = scene()
        valid = torch.ones_like(y, dtype=torch.bool)
        assert torch.equal(posterior_mean(mu, y, 0 * variance, valid, 3.0), mu + (y - mu))

    def test_invalid_pixels_keep_the_estimate_and_have_no_influence(self):
        _, y, mu, variance = scene()
        valid = torch.ones_like(y, dtype=torch.bool)
        valid[..., 10:20, 10:20] = False
        spoilt = torch.where(valid, y, torch.nan)
        x = posterior_mean(mu, spoilt, variance, valid, 3.0)
        assert torch.equal(x[~valid], mu[~valid])
        assert torch.isfinite(x).all()
        other = posterior_mean(mu, torch.where(valid, y, 1e9), variance, valid, 3.0)
        assert torch.equal(x, other)

    def test_a_window_without_valid_pixels_is_the_estimate(self):
        _, y, mu, variance = scene(n=4)
        valid = torch.zeros_like(y, dtype=torch.bool)
        assert torch.equal(posterior_mean(mu, y, variance, valid, 3.0), mu)


class TestChannels:
    def colour(self, seed=0):
        """Texture in brightness only, noise in every channel."""
        rng = np.random.default_rng(seed)
        truth = 100 + 10 * rng.standard_normal((1, 1, 80, 80)) * np.ones((1, 3, 1, 1))
        y = truth + 10 * rng.standard_normal(truth.shape)
        mu = np.full_like(truth, 100)
        return [torch.from_numpy(a) for a in (truth, y, mu, np.full_like(truth, 100.0))]

    def test_signal_shared_by_channels_is_separated_from_noise(self):
        truth, y, mu, variance = self.colour()
        valid = torch.ones_like(y, dtype=torch.bool)
        together = (posterior_mean(mu, y, variance, valid, 5.0) - truth).square().mean()
        each = [
            posterior_mean(*(t[:, c : c + 1] for t in (mu, y, variance, valid)), 5.0)
            for c in range(3)
        ]
        alone = (torch.cat(each, 1) - truth).square().mean()
        # Bayes' own risk: 100 * 100 / 200 alone; together the mean of three is measured, 100 / 4
        assert abs(alone - 50) < 4
        assert abs(together - 25) < 4

    def test_a_channel_without_valid_pixels_does_not_spoil_the_others(self):
        truth, y, mu, variance = self.colour()
        valid = torch.ones_like(y, dtype=torch.bool)
        valid[:, 1] = False
        x = posterior_mean(mu, y, variance, valid, 5.0)
        assert torch.equal(x[:, 1], mu[:, 1])
        assert (x[:, 0] - truth[:, 0]).square().mean() < 45

    def test_many_channels_are_treated_one_by_one(self):
        _, y, mu, variance = (t.repeat(1, 2, 1, 1) for t in self.colour())
        valid = torch.ones_like(y, dtype=torch.bool)
        x = posterior_mean(mu, y, variance, valid, 3.0)
        first = posterior_mean(*(t[:, :1] for t in (mu, y, variance, valid)), 3.0)
        assert torch.equal(x[:, :1], first)


@pytest.mark.parametrize("radius", [2.0, 5.0])
def test_the_more_doubt_the_less_noise_comes_back(radius):
    dice = torch.Generator().manual_seed(0)
    y = torch.randn((1, 1, 96, 96), generator=dice)
    mu, one = torch.zeros_like(y), torch.ones_like(y)
    everywhere = torch.ones_like(y, dtype=torch.bool)
    back = [
        posterior_mean(mu, y, one, everywhere, radius, doubt).square().mean()
        for doubt in (0.0, 1.0, 2.0, 4.0)
    ]
    assert back == sorted(back, reverse=True)
    assert back[3] < 0.01 * back[0]


def test_a_source_comes_back_whatever_the_doubt():
    mu = torch.zeros((1, 1, 33, 33))
    y = mu.clone()
    y[0, 0, 16, 16] = 100.0
    everywhere = torch.ones_like(y, dtype=torch.bool)
    x = posterior_mean(mu, y, torch.ones_like(y), everywhere, 2.0, 2.0)
    assert x[0, 0, 16, 16] > 98


class TestPosteriorVariance:
    def test_is_the_mean_squared_error_where_texture_comes_back(self):
        truth, y, mu, variance = scene()
        valid = torch.ones_like(y, dtype=torch.bool)
        x = posterior_mean(mu, y, variance, valid, 3.0)
        stated = posterior_variance(mu, y, variance, valid, 3.0)
        rough = np.s_[..., 60:96]
        risk = (x - truth).square()[rough].mean()
        assert 0.9 * risk < stated[rough].mean() < 1.1 * risk

    def test_is_never_less_than_the_standard_error_of_the_prior(self):
        _, y, mu, variance = scene()
        valid = torch.ones_like(y, dtype=torch.bool)
        smooth = np.s_[..., :36]
        wide = posterior_variance(mu, y, variance, valid, 5.0)[smooth]
        narrow = posterior_variance(mu, y, variance, valid, 2.0)[smooth]
        assert 0 < wide.min() < wide.mean() < narrow.mean() < 25

    def test_of_the_estimate_alone_it_is_the_priors(self):
        truth, y, mu, variance = scene()
        valid = torch.ones_like(y, dtype=torch.bool)
        prior = posterior_variance(mu, y, variance, valid, 3.0, combined=False)
        rough = np.s_[..., 60:96]
        risk = (mu - truth).square()[rough].mean()
        assert 0.9 * risk < prior[rough].mean() < 1.1 * risk
        holes = valid.clone()
        holes[..., 70:74, 70:74] = False
        spoilt = torch.where(holes, y, torch.nan)
        stated = posterior_variance(mu, spoilt, variance, holes, 3.0)
        alone = posterior_variance(mu, spoilt, variance, holes, 3.0, combined=False)
        assert torch.equal(stated[~holes], alone[~holes])
        assert (stated[holes] < alone[holes]).all()

    def test_without_noise_valid_pixels_are_certain_and_holes_are_not(self):
        truth, _, mu, variance = scene()
        valid = torch.ones_like(truth, dtype=torch.bool)
        valid[..., 70:74, 70:74] = False
        stated = posterior_variance(mu, truth, 0 * variance, valid, 3.0)
        assert stated[valid].max() < 1e-4
        assert 30 < stated[~valid].mean() < 300

    @pytest.mark.parametrize("unit", [1e-9, 1e6])
    def test_the_unit_does_not_matter(self, unit):
        _, y, mu, variance = (t.float() for t in scene())
        valid = torch.ones_like(y, dtype=torch.bool)
        one = posterior_variance(mu, y, variance, valid, 3.0)
        other = posterior_variance(unit * mu, unit * y, unit**2 * variance, valid, 3.0)
        torch.testing.assert_close(other / unit**2, one, rtol=1e-3, atol=1e-2)

    def test_many_channels_are_treated_one_by_one(self):
        _, y, mu, variance = (t.expand(1, 6, -1, -1) for t in scene())
        valid = torch.ones_like(y, dtype=torch.bool)
        stated = posterior_variance(mu, y, variance, valid, 3.0)
        first = posterior_variance(*(t[:, :1] for t in (mu, y, variance, valid)), 3.0)
        assert torch.equal(stated[:, :1], first)


PSF = Psf.of(np.exp(-0.5 * sum(np.square(np.mgrid[-4:5, -4:5]))))


class TestPosteriorThrough:
    def scene(self, operator, sigma, n=48, error=3.0):
        """Truth, what a prior makes of it, the measurement and its variance."""
        rng = np.random.default_rng(1)
        truth = torch.from_numpy(100 + 20 * rng.standard_normal((1, 2, n, n)))
        mu = truth + error * torch.from_numpy(rng.standard_normal((1, 2, n, n)))
        y = operator.forward(truth)
        y = y + sigma * torch.from_numpy(rng.standard_normal(y.shape))
        return truth, mu, y, torch.full_like(y, sigma**2)

    @pytest.mark.parametrize("kernel", KERNELS)
    @pytest.mark.parametrize("scale", [2, 3, 4])
    def test_without_noise_it_agrees_with_the_measurement(self, kernel, scale):
        operator = Downsample(scale, kernel)
        _, mu, y, variance = self.scene(operator, 0.0)
        valid = torch.ones_like(y, dtype=torch.bool)
        x = posterior_through(operator, mu, y, variance, valid)
        before = (operator.forward(mu) - y).abs().max()
        assert (operator.forward(x) - y).abs().max() < 0.01 * before

    @pytest.mark.parametrize(
        "operator", [Downsample(2), Blur(PSF), Composition(Blur(PSF), Downsample(2, "box"))]
    )
    @pytest.mark.parametrize("sigma", [0.0, 0.3, 3.0])
    def test_it_never_errs_more_than_the_prior(self, operator, sigma):
        truth, mu, y, variance = self.scene(operator, sigma)
        valid = torch.ones_like(y, dtype=torch.bool)
        x = posterior_through(operator, mu, y, variance, valid)
        before, after = ((a - truth).square().mean() for a in (mu, x))
        assert after < before + 1e-3
        if sigma < 1:
            assert after < 0.95 * before

    def test_a_residual_no_larger_than_the_noise_changes_nothing(self):
        operator = Downsample(2)
        _, mu, y, variance = self.scene(operator, 1.0)
        valid = torch.ones_like(y, dtype=torch.bool)
        assert torch.equal(posterior_through(operator, mu, y, 100 * variance, valid), mu)

    def test_invalid_pixels_have_no_influence(self):
        operator = Downsample(2, "box")
        _, mu, y, variance = self.scene(operator, 0.0)
        valid = torch.ones_like(y, dtype=torch.bool)
        valid[..., 5:9, 5:9] = False
        wild = torch.where(valid, y, 1e9)
        x = posterior_through(operator, mu, wild, variance, valid)
        assert torch.equal(x, posterior_through(operator, mu, y, variance, valid))
        assert torch.equal(x[..., 10:18, 10:18], mu[..., 10:18, 10:18])
        nothing = torch.zeros_like(valid)
        assert torch.equal(posterior_through(operator, mu, y, variance, nothing), mu)
