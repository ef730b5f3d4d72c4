"""The original of a JPEG lies in the JPEG's cells, wherever a window begins."""

import numpy as np
import pytest
import torch
from jpegs import photograph, saved, tensor

from glassplate.models.operators.jpeg_cells import (
    QuantisationCells,
    interpolated_mean,
    stored_samples,
)
from glassplate.models.operators.quantisation import standard_quantisation


def cells(y, quantisation, origin=(0, 0), valid=None):
    return QuantisationCells(
        quantisation, y, torch.ones_like(y, dtype=torch.bool) if valid is None else valid, origin
    )


class TestCells:
    @pytest.mark.parametrize("quality", [5, 10, 40, 75, 95])
    @pytest.mark.parametrize("subsampling", ["444", "422", "420"])
    def test_the_original_lies_in_the_cells(self, quality, subsampling):
        image = photograph()
        y, quantisation = saved(image, quality, subsampling)
        x = tensor(image)
        moved = cells(y, quantisation).project(x) - x
        # except for the rounding to whole levels inside the coder
        assert moved.square().mean() < 0.01 * (x - y).square().mean() + 0.1

    @pytest.mark.parametrize("quality", [10, 75])
    def test_a_grey_original_lies_in_the_cells(self, quality):
        image = photograph(channels=1)
        y, quantisation = saved(image, quality)
        x = tensor(image)
        assert (cells(y, quantisation).project(x) - x).square().mean() < 0.05

    def test_the_jpeg_itself_lies_in_the_cells(self):
        y, quantisation = saved(photograph(), 10)
        torch.testing.assert_close(cells(y, quantisation).project(y), y, rtol=0, atol=1e-3)

    @pytest.mark.parametrize("subsampling", ["444", "422", "420"])
    @pytest.mark.parametrize("origin", [(0, 0), (5, 3)])
    def test_the_projection_is_nearer_to_the_original(self, subsampling, origin):
        image = photograph()
        part = np.s_[..., origin[0] :, origin[1] :]
        y, quantisation = saved(image, 20, subsampling)
        y, truth = y[part], tensor(image)[part]
        inside = cells(y, quantisation, origin)
        x = truth + 20 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
        nearest = inside.project(x)
        assert (nearest - truth).square().mean() < 0.99 * (x - truth).square().mean()
        torch.testing.assert_close(inside.project(nearest), nearest, rtol=0, atol=1e-3)

    @pytest.mark.parametrize("subsampling", ["444", "422", "420"])
    @pytest.mark.parametrize("origin", [(1, 0), (0, 15), (5, 3), (16, 8), (9, 23)])
    def test_windows_that_begin_anywhere_agree(self, subsampling, origin):
        image = photograph(112, 128)
        y, quantisation = saved(image, 20, subsampling)
        other = tensor(image).flip(-1)
        part = np.s_[..., origin[0] :, origin[1] :]
        whole = cells(y, quantisation).project(other)[part]
        window = cells(y[part], quantisation, origin).project(other[part])
        # near its border the window cuts blocks and colour samples, which may differ
        inner = np.s_[..., 32:, 32:]
        torch.testing.assert_close(window[inner], whole[inner], rtol=0, atol=0.1)

    def test_pixels_in_no_whole_block_do_not_change(self):
        y, quantisation = saved(photograph(), 10)
        x = y[..., 3:7, 1:6] + 30
        torch.testing.assert_close(
            cells(y[..., 3:7, 1:6], quantisation, (3, 1)).project(x), x, rtol=0, atol=1e-3
        )

    def test_a_block_with_an_invalid_pixel_does_not_change(self):
        y, quantisation = saved(photograph(), 10)
        valid = torch.ones_like(y, dtype=torch.bool)
        valid[..., 1, 20, 33] = False
        moved = cells(y, quantisation, valid=valid).project(y + 50) - y - 50
        assert (moved[..., 16:24, 32:40].abs() < 1e-3).all()
        assert (moved.abs() > 1).float().mean() > 0.9

    @pytest.mark.parametrize("shape", [(1, 1), (7, 30), (3, 3), (16, 16), (17, 33)])
    @pytest.mark.parametrize("origin", [(0, 0), (5, 7)])
    @pytest.mark.parametrize("sampling", [(1, 1), (2, 2)])
    def test_a_window_may_have_any_size(self, shape, origin, sampling):
        y = 255 * torch.rand((1, 3, *shape), generator=torch.Generator().manual_seed(0))
        nearest = cells(y, standard_quantisation(30, 3, sampling), origin).project(y.flip(-1))
        assert nearest.shape == y.shape
        assert nearest.isfinite().all()


def test_the_interpolation_of_the_decoder_is_inverted():
    samples = torch.randn((1, 1, 13, 9), dtype=torch.float64, generator=torch.manual_seed(0))
    means = interpolated_mean(interpolated_mean(samples, -2), -1)
    torch.testing.assert_close(stored_samples(means, (2, 2)), samples, atol=1e-4, rtol=0)
    torch.testing.assert_close(stored_samples(samples, (1, 1)), samples)
