import pickle

import numpy as np
import pytest
import torch
from adjoint import has_exact_adjoint
from hypothesis import given, settings
from hypothesis import strategies as st

from glassplate.models.operators.blur import Blur
from glassplate.models.operators.borders import repeat_border, repeat_border_adjoint
from glassplate.models.operators.downsample import Downsample
from glassplate.models.operators.operator import Composition, Identity
from glassplate.models.operators.psf import Psf


def gaussian(height, width, sigma=1.3):
    y, x = np.arange(height) - height // 2, np.arange(width) - width // 2
    return np.outer(np.exp(-(y**2) / 2 / sigma**2), np.exp(-(x**2) / 2 / sigma**2))


def moffat(height, width):
    """A round profile with wings, which is not the product of a column and a row."""
    y, x = np.mgrid[:height, :width]
    r2 = (y - height // 2) ** 2 + (x - width // 2) ** 2
    return (1 + r2 / 4) ** -2.5


def asymmetric(height, width):
    return np.random.default_rng(height * 100 + width).random((height, width))


KERNELS = ("lanczos2", "lanczos3", "bicubic", "box", "pick")
DOWNSAMPLES = [Downsample(s, k) for s in (2, 3, 4, 5, 7, 16) for k in KERNELS]
SHAPES = [(3, 3), (5, 3), (1, 7), (9, 9), (17, 21)]
BLURS = [
    Blur(Psf.of(make(*shape)), method)
    for shape in SHAPES
    for make in (gaussian, moffat, asymmetric)
    for method in ("auto", "direct", "fft")
] + [Blur(Psf.of(gaussian(*shape)), "separable") for shape in [*SHAPES, (1, 1)]]
BOTH = [
    Composition(Blur(Psf.of(asymmetric(7, 5))), Downsample(scale, kernel))
    for scale in (2, 3)
    for kernel in ("box", "pick", "lanczos2")
]
OPERATORS = [Identity(), *DOWNSAMPLES, *BLURS, *BOTH]
SOME = [Identity(), *DOWNSAMPLES[:15], *BLURS[::7], *BOTH[::2]]
some_operators = pytest.mark.parametrize("operator", SOME, ids=repr)


@settings(max_examples=150)
@given(
    operator=st.sampled_from(OPERATORS),
    h=st.integers(1, 7),
    w=st.integers(1, 7),
    seed=st.integers(0, 2**31),
)
def test_adjoint_passes_the_dot_test_at_any_size(operator, h, w, seed):
    s = operator.scale
    assert has_exact_adjoint(operator, (2, 3, s * h, s * w), seed=seed)


@pytest.mark.parametrize("operator", OPERATORS, ids=repr)
def test_every_adjoint_passes_the_dot_test(operator):
    assert has_exact_adjoint(operator, (1, 2, 3 * operator.scale, 4 * operator.scale))


def test_the_dot_test_can_fail():
    class Wrong(Downsample):
        def adjoint(self, y):
            return 1.01 * super().adjoint(y)

    assert not has_exact_adjoint(Wrong(2), (1, 1, 8, 8))


@given(h=st.integers(1, 6), w=st.integers(1, 6), down=st.integers(0, 8), right=st.integers(0, 8))
def test_the_adjoint_of_a_repeated_border(h, w, down, right):
    rng = np.random.default_rng(h)
    x = torch.from_numpy(rng.standard_normal((1, 2, h, w)))
    y = torch.from_numpy(rng.standard_normal((1, 2, h + 2 * down, w + 2 * right)))
    torch.testing.assert_close(
        (repeat_border(x, down, right) * y).sum(), (x * repeat_border_adjoint(y, down, right)).sum()
    )


@some_operators
class TestOperator:
    def test_a_constant_stays_constant(self, operator):
        s = operator.scale
        x = torch.full((1, 2, 4 * s, 6 * s), 7.0)
        torch.testing.assert_close(operator.forward(x), torch.full((1, 2, 4, 6), 7.0))

    def test_channels_do_not_mix(self, operator):
        s = operator.scale
        x = torch.zeros(1, 3, 8 * s, 8 * s)
        x[:, 1] = torch.rand(8 * s, 8 * s, generator=torch.Generator().manual_seed(0))
        y = operator.forward(x)
        assert y[:, 0].abs().max() == 0
        assert y[:, 1].abs().max() > 0
        assert y[:, 2].abs().max() == 0

    def test_support_bounds_what_a_pixel_sees(self, operator):
        s = operator.scale
        i = 1 + -(-operator.support // s)
        y = torch.zeros(1, 1, 2 * i + 1, 2 * i + 1)
        y[..., i, i] = 1
        seen = (operator.adjoint(y)[0, 0].abs() > 1e-6).nonzero()
        assert seen.min() >= s * i - operator.support
        assert seen.max() <= s * i + s - 1 + operator.support

    def test_gradient_is_the_adjoint(self, operator):
        s = operator.scale
        x = torch.zeros(1, 1, 6 * s, 5 * s, dtype=torch.float64, requires_grad=True)
        y = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 1, 6, 5)))
        (gradient,) = torch.autograd.grad((operator.forward(x) * y).sum(), x)
        torch.testing.assert_close(gradient, operator.adjoint(y))

    def test_a_symmetric_image_stays_symmetric(self, operator):
        """At every scale a mirrored image gives the mirrored measurement, so that nothing shifts."""
        if isinstance(operator, Composition) or (
            isinstance(operator, Blur) and operator.psf == Psf.of(asymmetric(*operator.psf.shape))
        ):
            pytest.skip("its PSF is not symmetric")
        s = operator.scale
        x = torch.from_numpy(np.random.default_rng(0).random((1, 1, 5 * s, 5 * s)))
        y = operator.forward(x + x.flip(-1) + x.flip(-2) + x.flip(-1, -2))
        torch.testing.assert_close(y, y.flip(-1))
        torch.testing.assert_close(y, y.flip(-2))

    def test_float32_and_float64_agree(self, operator):
        s = operator.scale
        x = torch.from_numpy(np.random.default_rng(0).random((1, 2, 6 * s, 6 * s)))
        single = operator.forward(x.float())
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), operator.forward(x), rtol=1e-5, atol=1e-5)

    def test_operators_compare_hash_and_pickle_by_value(self, operator):
        again = pickle.loads(pickle.dumps(operator))
        assert again == operator
        assert hash(again) == hash(operator)
        assert operator.mixes == (operator != Identity())


def test_operators_with_different_settings_differ():
    assert len(set(OPERATORS)) == len(OPERATORS)


def test_a_composition_applies_one_after_the_other():
    blur, down = Blur(Psf.of(moffat(5, 7))), Downsample(3, "box")
    both, x = (
        Composition(blur, down),
        torch.rand(1, 1, 12, 15, generator=torch.Generator().manual_seed(0)),
    )
    torch.testing.assert_close(both.forward(x), down.forward(blur.forward(x)))
    assert (both.scale, both.support, both.mixes) == (3, 3, True)
    assert Composition(down, blur).support == 9
