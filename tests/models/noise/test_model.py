"""Noise settings refuse contradictions; a noise model is the same function for numpy and torch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from glassplate.models.noise.model import NoiseModel, NoiseSettings


class TestSettings:
    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"sigma": 0.0}, "sigma 0.0 must be positive"),
            ({"sigma": float("nan")}, "sigma nan must be positive"),
            ({"gain": -1.0}, "gain -1.0 must be positive"),
            ({"read_noise": -1.0}, "read_noise -1.0 must not be negative"),
            ({"model": "poisson", "sigma": 3.0}, "sigma contradicts model poisson; drop it or set"),
            ({"model": "poisson", "read_noise": 3.0}, "read_noise contradicts model poisson"),
            ({"model": "gaussian", "gain": 2.0}, "gain contradicts model gaussian"),
            ({"sigma": 3.0, "gain": 2.0}, "sigma 3.0 contradicts gain and read_noise"),
        ],
    )
    def test_impossible_numbers_are_refused(self, values, message):
        with pytest.raises(ValueError, match=message):
            NoiseSettings(**values)

    def test_no_read_noise_is_possible(self):
        assert NoiseSettings(gain=2.0, read_noise=0.0).read_noise == 0.0


class TestModel:
    MODEL = NoiseModel(4.0, 0.5, 0.1, False, "test", pedestal=10.0)

    def test_variance_grows_from_the_pedestal(self):
        x = np.array([[-50.0, 10.0, 14.0, np.nan]])
        np.testing.assert_array_equal(self.MODEL.variance(x), [[4.0, 4.0, 6.0, np.nan]])

    @given(hnp.arrays(np.float32, (3, 4), elements=st.floats(-1e6, 1e6, width=32)))
    def test_numpy_and_torch_agree(self, x):
        result = self.MODEL.variance(torch.from_numpy(x))
        assert result.dtype == torch.float32
        np.testing.assert_array_equal(result.numpy(), self.MODEL.variance(x))


class TestChannels:
    MODEL = NoiseModel(4.0, 0.5, 0.0, False, "test", shares=(0.5, 1.0, 1.5))

    @pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
    @pytest.mark.parametrize("leading", [(), (2,)])
    def test_each_channel_has_its_share_of_the_variance(self, kind, leading):
        x = np.linspace(-5, 50, 24).reshape(*[1 for _ in leading], 3, 2, 4)
        x = np.broadcast_to(x, (*leading, 3, 2, 4)).copy()
        found = np.asarray(self.MODEL.pixel_variance(kind(x)))
        for channel, share in enumerate((0.5, 1.0, 1.5)):
            plane = x[..., channel, :, :]
            np.testing.assert_allclose(
                found[..., channel, :, :], share * self.MODEL.variance(plane)
            )
            alone = self.MODEL.of_channel(channel)
            np.testing.assert_allclose(alone.variance(plane), share * self.MODEL.variance(plane))

    def test_without_shares_all_channels_are_alike(self):
        alike = NoiseModel(4.0, 0.5, 0.0, False, "test")
        x = np.random.default_rng(0).random((3, 4, 5))
        np.testing.assert_array_equal(alike.pixel_variance(x), alike.variance(x))
        assert alike.of_channel(2) is alike

    def test_a_change_of_units_keeps_the_shares(self):
        assert self.MODEL.scaled(3).shares == self.MODEL.shares
