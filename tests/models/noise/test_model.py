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
