import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glassplate.models.operators import Downsample, Identity, upsample, valid_adjoint

OPERATORS = [Identity()] + [Downsample(s, k) for s in (2, 4) for k in ("lanczos2", "lanczos3")]
every_operator = pytest.mark.parametrize("operator", OPERATORS, ids=repr)


@settings(max_examples=40, deadline=None)
@given(
    operator=st.sampled_from(OPERATORS),
    h=st.integers(1, 9),
    w=st.integers(1, 9),
    seed=st.integers(0, 2**31),
)
def test_adjoint_passes_the_dot_test_at_any_size(operator, h, w, seed):
    s = operator.scale
    assert valid_adjoint(operator, (2, 3, s * h, s * w), seed=seed)


def test_the_dot_test_can_fail():
    class Wrong(Downsample):
        def adjoint(self, y):
            return 1.01 * super().adjoint(y)

    assert not valid_adjoint(Wrong(2), (1, 1, 8, 8))


@every_operator
class TestOperator:
    def test_a_constant_stays(self, operator):
        x = torch.full((1, 2, 16, 24), 7.0)
        torch.testing.assert_close(
            operator.forward(x), torch.full((1, 2, 16 // operator.scale, 24 // operator.scale), 7.0)
        )

    def test_channels_do_not_mix(self, operator):
        x = torch.zeros(1, 3, 16, 16)
        x[:, 1] = torch.rand(16, 16)
        y = operator.forward(x)
        assert y[:, 0].abs().max() == 0
        assert y[:, 1].abs().max() > 0
        assert y[:, 2].abs().max() == 0

    def test_support_bounds_what_a_pixel_sees(self, operator):
        s = operator.scale
        n, i = 16, 8
        y = torch.zeros(1, 1, n, n)
        y[..., i, i] = 1
        seen = operator.adjoint(y)[0, 0].nonzero()
        assert seen.min() >= s * i - operator.support
        assert seen.max() <= s * i + s - 1 + operator.support

    def test_gradient_is_the_adjoint(self, operator):
        s = operator.scale
        x = torch.zeros(1, 1, 6 * s, 5 * s, dtype=torch.float64, requires_grad=True)
        y = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 1, 6, 5)))
        (gradient,) = torch.autograd.grad((operator.forward(x) * y).sum(), x)
        torch.testing.assert_close(gradient, operator.adjoint(y))


@pytest.mark.parametrize("operator", OPERATORS[1:], ids=repr)
class TestPhase:
    def test_a_ramp_is_sampled_at_the_middle_of_each_area(self, operator):
        s = operator.scale
        x = torch.arange(20.0 * s, dtype=torch.float64).expand(1, 1, 4 * s, 20 * s)
        inside = slice(operator.lobes, 20 - operator.lobes)
        expected = s * (torch.arange(20.0, dtype=torch.float64) + 0.5) - 0.5
        torch.testing.assert_close(operator.forward(x)[0, 0, 0, inside], expected[inside])

    def test_upsampling_has_the_same_phase(self, operator):
        s = operator.scale
        y = torch.arange(12.0, dtype=torch.float64).expand(1, 1, 6, 12)
        back = operator.forward(upsample(y, s))
        margin = operator.lobes + 1
        torch.testing.assert_close(back[..., margin:-margin], y[..., margin:-margin])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [((1, "lanczos3"), "by 1: must be even"), ((2, "box"), "'box': must be lanczos2 or lanczos3")],
)
def test_unknown_downsampling_is_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        Downsample(*arguments)
