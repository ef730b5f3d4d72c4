import numpy as np
import torch

from glassplate.models.fit.losses import (
    chi2,
    huber_weight,
    masked_mean,
    typical_size,
    weighted_squares,
    whiteness,
)


def tensor(a):
    return torch.from_numpy(np.asarray(a, np.float64))[None, None]


class TestWeightedSquares:
    def test_is_the_mean_over_weighted_pixels(self):
        x, y = tensor([[1.0, 2.0, 9.0]]), tensor([[0.0, 0.0, 0.0]])
        assert weighted_squares(x, y, tensor([[1.0, 0.5, 0.0]])) == (1 + 0.5 * 4) / 2

    def test_is_zero_without_pixels(self):
        x = tensor([[1.0]]).requires_grad_()
        loss = weighted_squares(x, tensor([[3.0]]), tensor([[0.0]]))
        loss.backward()
        assert loss == 0
        assert x.grad.item() == 0


class TestHuber:
    def test_the_gradient_stays_constant_beyond_the_bound(self):
        size, bound = tensor([[0.0, 1.0, 2.0, 8.0, 1e30]]), torch.tensor(2.0)
        pull = huber_weight(size, bound) * size
        torch.testing.assert_close(pull, tensor([[0.0, 1.0, 2.0, 2.0, 2.0]]))

    def test_without_a_bound_to_speak_of_only_what_fits_counts(self):
        weight = huber_weight(tensor([[0.0, 1.0]]), torch.tensor(0.0))
        assert weight.tolist() == [[[[1.0, 0.0]]]]

    def test_a_typical_size_is_the_deviation_of_normal_residuals_whatever_the_outliers(self):
        rng = np.random.default_rng(0)
        size = np.abs(3 * rng.standard_normal((200, 200)))
        size[:, :20] = 1e6
        counts = torch.ones(1, 1, 200, 200, dtype=torch.bool)
        assert abs(float(typical_size(tensor(size), counts)) - 3) < 0.6
        assert typical_size(tensor(size), ~counts) == 0


class TestChi2:
    def test_is_one_for_the_modelled_noise(self):
        rng = np.random.default_rng(0)
        x = np.full((200, 200), 50.0)
        variance = np.where(np.arange(200) < 100, 4.0, 25.0) * np.ones((200, 1))
        y = x + np.sqrt(variance) * rng.standard_normal(x.shape)
        valid = rng.random(x.shape) > 0.1
        y[~valid] = 1e9
        value = chi2(tensor(x), tensor(y), tensor(variance), torch.from_numpy(valid)[None, None])
        assert abs(float(value) - 1) < 0.03

    def test_noiseless_pixels_do_not_count(self):
        one = tensor([[1.0, 1.0]])
        valid = torch.ones(1, 1, 1, 2, dtype=torch.bool)
        assert chi2(0 * one, one, tensor([[0.0, 2.0]]), valid) == 0.5
        assert torch.isnan(chi2(0 * one, one, 0 * one, valid))


class TestWhiteness:
    def setup_method(self):
        self.noise = np.random.default_rng(0).standard_normal((2, 150, 150))

    def of(self, residual, valid=None):
        residual = torch.from_numpy(residual)[None]
        good = torch.ones(residual.shape, dtype=torch.bool) if valid is None else valid
        return float(whiteness(residual, good))

    def test_white_noise_has_none(self):
        assert abs(self.of(self.noise)) < 0.02

    def test_a_running_mean_of_two_has_half_along_its_axis(self):
        smooth = self.noise[..., 1:] + self.noise[..., :-1]
        assert abs(self.of(smooth) - 0.25) < 0.03  # 0.5 along x, 0 along y

    def test_invalid_pixels_do_not_count(self):
        valid = torch.from_numpy(np.random.default_rng(1).random((1, 2, 150, 150)) > 0.3)
        spoilt = np.where(valid[0].numpy(), self.noise, 1e6)
        assert abs(self.of(spoilt, valid)) < 0.03


def test_mean_of_nothing_is_nan():
    counts = torch.tensor([[[[True, False]]], [[[False, False]]]])
    some, none = masked_mean(torch.tensor([2.0, 9.0]).expand(2, 1, 1, 2), counts)
    assert some == 2
    assert torch.isnan(none)
