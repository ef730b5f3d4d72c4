"""Local means see only known pixels and keep constants and totals."""

import pytest
import torch

from glassplate.models import filters
from glassplate.models.filters import fill_unknown, gaussian_blur, neighbour_mean


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class TestFillUnknown:
    def test_takes_the_mean_of_known_neighbours(self):
        values = torch.tensor([[1.0, 2.0, 3.0], [4.0, 99.0, 6.0], [7.0, 8.0, 9.0]])[None, None]
        known = torch.ones_like(values, dtype=torch.bool)
        known[..., 1, 1] = known[..., 0, 0] = False
        filled = fill_unknown(values, known)
        assert torch.equal(filled[known], values[known])
        assert filled[0, 0, 1, 1] == pytest.approx((2 + 3 + 4 + 6 + 7 + 8 + 9) / 7)
        assert filled[0, 0, 0, 0] == pytest.approx((2 + 4) / 2)

    @pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 1.0])
    @pytest.mark.parametrize("sigma", [None, 2.0])
    def test_a_gpu_which_is_not_waited_for_gets_the_same(self, share, sigma, monkeypatch):
        values = torch.rand(1, 2, 33, 20, generator=generator())
        known = torch.rand(1, 2, 33, 20, generator=generator(1)) < share
        here = fill_unknown(values, known, sigma)
        monkeypatch.setattr(filters, "_surely_known", lambda counts: False)
        assert torch.equal(fill_unknown(values, known, sigma), here)

    @pytest.mark.parametrize("sigma", [None, 2.0])
    @pytest.mark.parametrize("shape", [(1, 1), (1, 9), (33, 20)])
    def test_a_constant_fills_a_hole_of_any_size(self, sigma, shape):
        values = torch.full((1, 2, *shape), 5.0)
        known = torch.zeros_like(values, dtype=torch.bool)
        known[..., -1, -1] = True
        values = torch.where(known, values, torch.nan).nan_to_num(123.0)
        torch.testing.assert_close(fill_unknown(values, known, sigma), torch.full_like(values, 5.0))

    def test_nothing_known_gives_zero(self):
        values = torch.full((1, 1, 5, 7), 3.0)
        assert not fill_unknown(values, torch.zeros_like(values, dtype=torch.bool)).any()

    @pytest.mark.parametrize("sigma", [None, 2.0])
    def test_unknown_values_have_no_influence(self, sigma):
        values = torch.rand(1, 1, 40, 40, generator=generator())
        known = torch.rand(1, 1, 40, 40, generator=generator(1)) > 0.6
        other = torch.where(known, values, 1e6)
        assert torch.equal(fill_unknown(values, known, sigma), fill_unknown(other, known, sigma))


def test_the_neighbour_mean_does_not_depend_on_the_pixel_itself():
    values = torch.rand(1, 1, 12, 12, generator=generator())
    known = torch.ones_like(values, dtype=torch.bool)
    one = neighbour_mean(values, known)[0, 0, 5, 5]
    values[0, 0, 5, 5] += 100
    assert neighbour_mean(values, known)[0, 0, 5, 5] == pytest.approx(float(one), abs=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (40, 2)])
def test_blur_keeps_the_total_of_an_inner_point_and_the_shape(shape):
    x = torch.ones(1, 2, *shape, dtype=torch.float64)
    blurred = gaussian_blur(x, 2.0)
    assert blurred.shape == x.shape
    assert blurred.max() <= 1 + 1e-12  # beyond the border is 0
    point = torch.zeros(1, 1, 41, 41, dtype=torch.float64)
    point[..., 20, 20] = 1
    torch.testing.assert_close(gaussian_blur(point, 2.0).sum(), point.sum())
