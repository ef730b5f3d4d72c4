import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glassplate.models.pixel_transform import PixelTransform

TRANSFORMS = [
    PixelTransform(),
    PixelTransform("linear", offset=-3.0, scale=250.0),
    PixelTransform("asinh", offset=103.0, scale=6.6, softening=86.0),
]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda t: f"{t.kind}-{t.offset}")
class TestPixelTransform:
    def test_inverse_undoes_forward_for_either_library(self, transform):
        x = np.linspace(-500, 60000, 1001)
        np.testing.assert_allclose(transform.inverse(transform.forward(x)), x, rtol=1e-9, atol=1e-9)
        t = torch.from_numpy(x)
        torch.testing.assert_close(transform.forward(t), torch.from_numpy(transform.forward(x)))
        torch.testing.assert_close(transform.inverse(transform.forward(t)), t)

    def test_derivative_is_that_of_forward(self, transform):
        x = torch.linspace(-500, 60000, 1001, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(transform.forward(x).sum(), x)
        torch.testing.assert_close(transform.derivative(x.detach()), slope)
        np.testing.assert_allclose(transform.derivative(x.detach().numpy()), slope.numpy())

    def test_offset_maps_to_zero(self, transform):
        assert transform.forward(np.array(transform.offset)) == 0


@given(st.floats(-1e5, 1e5), st.floats(0.01, 1e5))
def test_forward_is_monotone(x, step):
    transform = PixelTransform("asinh", offset=10, scale=3, softening=5)
    assert transform.forward(np.float64(x + step)) > transform.forward(np.float64(x))


@pytest.mark.parametrize("fields", [{"scale": 0.0}, {"scale": float("nan")}, {"softening": -1.0}])
def test_an_impossible_scale_is_refused(fields):
    with pytest.raises(ValueError, match=f"{next(iter(fields))} is .* above 0"):
        PixelTransform("asinh", **fields)
