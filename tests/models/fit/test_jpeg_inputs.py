"""The input of deartifact: more of the JPEG's own artefacts, somewhere else each time."""

import numpy as np
import pytest
import torch
from jpegs import photograph, saved, tensor

from glassplate.models.fit.inputs import Scene, split_pixels
from glassplate.models.fit.jpeg_inputs import Requantised, requantised
from glassplate.models.operators.jpeg import join_blocks, rgb_to_ycbcr, split_blocks, ycbcr_to_rgb
from glassplate.models.operators.quantisation import standard_quantisation
from glassplate.models.pixel_transform import PixelTransform
from glassplate.models.stacked_state import RandomGenerators

ONE = (1, 1)
RANGE = PixelTransform("linear", offset=0.0, scale=255.0)


def steps(quantisation):
    return torch.tensor(quantisation.tables).float().view(-1, 1, 8, 8)


def source(y, quantisation, valid=None, size=None, seed=0):
    valid = torch.ones_like(y, dtype=torch.bool) if valid is None else valid
    split = split_pixels(valid, 0.0, False, torch.Generator().manual_seed(0))
    on_device, on_cpu = (RandomGenerators([torch.Generator().manual_seed(seed)]) for _ in range(2))
    scene = Scene(RANGE.forward(y), split, 1, size or tuple(y.shape[-2:]), False, on_device)
    return Requantised(scene, quantisation, RANGE, on_cpu)


def test_on_its_own_lattice_a_jpeg_stays_what_it_is():
    y, quantisation = saved(photograph(), 10)
    components = rgb_to_ycbcr(y)
    again = ycbcr_to_rgb(requantised(components, steps(quantisation), (0, 0), ONE))
    # but for the rounding of its pixels to whole levels
    assert (again - y).abs().max() < 2.5
    elsewhere = ycbcr_to_rgb(requantised(components, steps(quantisation), (3, 5), ONE))
    assert (elsewhere - y).square().mean() > 20 * (again - y).square().mean()


@pytest.mark.parametrize(("subsampling", "sampling"), [("422", (1, 2)), ("420", (2, 2))])
def test_colours_are_sampled_again_as_they_were(subsampling, sampling):
    y, quantisation = saved(photograph(), 10, subsampling)
    kept, moved = (
        ycbcr_to_rgb(requantised(rgb_to_ycbcr(y), steps(quantisation), shift, sampling))
        for shift in ((0, 0), (8, 8))
    )
    # on its own lattice its blocks of colour stay, but for what a second interpolation smooths
    assert (kept - y).square().mean() < 0.3 * (moved - y).square().mean()


def test_what_is_quantised_again_has_its_blocks_elsewhere():
    """Without the margin, blocks that begin 3 and 5 pixels early are on the lattice of a shifted window."""
    y, quantisation = saved(photograph(), 10)
    components = rgb_to_ycbcr(y)
    shifted = requantised(components, steps(quantisation), (3, 5), ONE)
    inner = np.s_[..., 5:61, 3:91]
    there = requantised(components[inner], steps(quantisation), (0, 0), ONE)
    torch.testing.assert_close(shifted[inner], there)


def test_the_mean_over_all_shifts_is_nearer_to_the_original():
    image = photograph(channels=1)
    y, quantisation = saved(image, 10)
    every = [(down, right) for down in range(8) for right in range(8)]
    copies = [
        ycbcr_to_rgb(requantised(rgb_to_ycbcr(y), steps(quantisation), s, ONE)) for s in every
    ]
    mean, x = torch.stack(copies).mean(0), tensor(image)
    assert (mean - x).square().mean() < 0.9 * (y - x).square().mean()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(1, 1), (5, 20), (16, 17)])
def test_any_size(channels, shape):
    y = 255 * torch.rand((1, channels, *shape), generator=torch.Generator().manual_seed(1))
    made = source(y, standard_quantisation(20, channels, (2, 2)), size=(32, 32))
    draw = made.draw()
    assert draw.z.shape == (1, made.channels, 32, 32)
    assert draw.z.isfinite().all()
    assert draw.loss_mask.shape == draw.averaging_mask.shape == y.shape


def test_draws_differ_and_repeat_with_the_seed():
    y, quantisation = saved(photograph(), 10)
    one, same = source(y, quantisation), source(y, quantisation)
    first, second = one.draw().z, one.draw().z
    assert not torch.equal(first, second)
    assert torch.equal(same.draw().z, first)
    assert torch.equal(same.draw().z, second)


def test_invalid_pixels_are_neither_in_the_input_nor_in_the_loss_mask():
    y, quantisation = saved(photograph(), 10)
    valid = torch.ones_like(y, dtype=torch.bool)
    valid[..., 20:30, 33:40] = False
    wild = torch.where(valid, y, 1e4)
    a, b = (source(values, quantisation, valid).draw() for values in (y, wild))
    assert torch.equal(a.z, b.z)
    assert torch.equal(a.loss_mask, valid)


def test_blocks_and_components_come_back():
    planes = torch.randn((3, 16, 24), generator=torch.Generator().manual_seed(0))
    blocks = split_blocks(planes)
    torch.testing.assert_close(blocks[:, 4], planes[:, 8:16, 8:16])
    torch.testing.assert_close(join_blocks(blocks, (16, 24)), planes)
    torch.testing.assert_close(ycbcr_to_rgb(rgb_to_ycbcr(planes[None])), planes[None])
