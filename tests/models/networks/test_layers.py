"""The layers of deterministic mode compute the same values and gradients as torch."""

from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from glassplate.models.networks.layers import MaxPool, Upsample, pad_reflect


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def image(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def both(layer, x):
    """Value and gradient by torch, and in deterministic mode."""
    found = []
    for strict in (False, True):
        given = x.clone().requires_grad_()
        if strict:
            with deterministic():
                y = layer(given)
        else:
            y = layer(given)
        (y * image(*y.shape, seed=1)).sum().backward()
        found.append((y.detach(), given.grad))
    return found


def reflected_by(margin):
    return lambda x: pad_reflect(x, margin)


LAYERS = {
    "reflected": reflected_by(1),
    "reflected by two": reflected_by(2),
    "bilinear": Upsample("bilinear"),
    "max pool": MaxPool(),
}


@pytest.mark.parametrize("name", LAYERS)
@settings(max_examples=15)
@given(b=st.integers(1, 2), c=st.integers(1, 3), half=st.integers(2, 6), other=st.integers(2, 6))
def test_deterministic_values_and_gradients_are_those_of_torch(name, b, c, half, other):
    (y, slope), (again, slope_again) = both(LAYERS[name], image(b, c, 2 * half, 2 * other))
    torch.testing.assert_close(again, y)
    torch.testing.assert_close(slope_again, slope)


def test_one_pixel_is_upsampled():
    x = image(1, 2, 1, 1)
    with deterministic():
        assert torch.equal(Upsample("bilinear")(x), x.expand(1, 2, 2, 2))


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 4, 5), (1, 8, 6, 2)])
def test_nearest_upsampling_has_the_gradient_of_torchs_own(shape):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    y = Upsample("nearest")(x)
    expected = F.interpolate(x, scale_factor=2, mode="nearest")
    assert torch.equal(y, expected)
    weight = torch.randn(y.shape, generator=generator, dtype=torch.float64)
    [found] = torch.autograd.grad((weight * y).sum(), x)
    [usual] = torch.autograd.grad((weight * expected).sum(), x)
    torch.testing.assert_close(found, usual)
