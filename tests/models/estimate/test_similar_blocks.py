import numpy as np
import pytest
import torch

from glassplate.models.cosine_transform import cosine_matrix
from glassplate.models.estimate.similar_blocks import (
    EARLIER,
    LAST,
    ONLY,
    STEP,
    _Basis,
    _in_units_of_noise,
    _transformed,
    collaborative_wiener,
)


def stripes(seed=0, shape=(48, 60), sigma=5.0, blur=0.7, colours=1):
    """Stripes that repeat, a pilot that has lost most of their contrast, and noise."""
    rng = np.random.default_rng(seed)
    wave = 20 * np.sin(np.arange(shape[1]) * 2 * np.pi / 7)
    truth = 100 + np.broadcast_to(wave, (1, colours, *shape)).copy()
    # errors of its own: rounding would choose between equal blocks
    pilot = 100 + (1 - blur) * (truth - 100) + 0.5 * rng.standard_normal(truth.shape)
    y = truth + sigma * rng.standard_normal(truth.shape)
    return (
        *(torch.from_numpy(a) for a in (truth, pilot, y)),
        torch.full(truth.shape, sigma**2, dtype=torch.float64),
    )


def everywhere(y):
    return torch.ones_like(y, dtype=torch.bool)


def test_what_repeats_comes_out_of_the_noise_though_the_pilot_had_lost_it():
    truth, pilot, y, variance = stripes()
    x = collaborative_wiener(pilot, y, variance, everywhere(y)).values
    error = (x - truth).square().mean()
    assert error < 0.05 * (pilot - truth).square().mean()
    assert error < 0.1 * 25


def test_a_flat_scene_keeps_its_level_and_loses_its_noise():
    _, _, y, variance = stripes()
    flat = y - stripes()[0] + 1000
    pilot = torch.full_like(flat, 1000.0)
    x = collaborative_wiener(pilot, flat, variance, everywhere(y))
    # of a group of 32 blocks of 36 pixels, many of which overlap
    assert (x.values - flat.mean()).square().mean() < 0.02 * 25
    assert x.variance.max() < 0.01 * 25


@pytest.mark.slow
@pytest.mark.parametrize("offset", [-1e3, 0.5, 1e4])
def test_nothing_depends_on_where_zero_is(offset):
    _, pilot, y, variance = stripes()
    x = collaborative_wiener(pilot, y, variance, everywhere(y)).values
    moved = collaborative_wiener(pilot + offset, y + offset, variance, everywhere(y)).values
    torch.testing.assert_close(moved - offset, x, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "factor", [2.0**-56, 2.0**20]
)  # exact, so that the same blocks are similar
def test_nor_on_the_unit_even_in_single_precision(factor):
    _, pilot, y, variance = (t.float() for t in stripes())
    x = collaborative_wiener(pilot, y, variance, everywhere(y))
    scaled = collaborative_wiener(factor * pilot, factor * y, (factor**2) * variance, everywhere(y))
    torch.testing.assert_close(scaled.values / factor, x.values, rtol=1e-6, atol=1e-4)
    assert torch.isfinite(scaled.values).all()


def test_without_noise_the_measurement_is_the_answer():
    _, pilot, y, variance = stripes()
    assert torch.equal(collaborative_wiener(pilot, y, 0 * variance, everywhere(y)).values, y)
    partly = variance.clone()
    partly[..., :20] = 0
    x = collaborative_wiener(pilot, y, partly, everywhere(y)).values
    assert torch.equal(x[..., :20], y[..., :20])
    assert not torch.equal(x[..., 20:], y[..., 20:])


def test_a_block_without_similar_ones_stays_as_the_pilot_has_it():
    # regression: filtered alone, it got its noise back, and the residual of a star cluster showed the blocks
    _, pilot, y, variance = stripes()
    x = collaborative_wiener(pilot, y, 1e-9 * variance, everywhere(y)).values
    torch.testing.assert_close(x, pilot)


def test_invalid_pixels_have_no_influence():
    _, pilot, y, variance = stripes()
    valid = everywhere(y)
    valid[..., 10:20, 10:20] = False
    x = collaborative_wiener(
        pilot, torch.where(valid, y, torch.nan), torch.where(valid, variance, torch.nan), valid
    )
    other = collaborative_wiener(pilot, torch.where(valid, y, 1e9), variance, valid)
    assert torch.equal(x.values, other.values)
    assert torch.equal(x.values[~valid], pilot[~valid])
    assert torch.isfinite(x.values).all()
    assert torch.isfinite(x.variance).all()


def test_a_window_without_valid_pixels_is_the_pilot():
    _, pilot, y, variance = stripes()
    x = collaborative_wiener(pilot, y, variance, ~everywhere(y))
    assert torch.equal(x.values, pilot)


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 50), (5, 7), (6, 6), (7, 9), (8, 40), (37, 53), (36, 54)]
)
@pytest.mark.parametrize("colours", [1, 3])
def test_every_pixel_is_covered_whatever_the_size(shape, colours):
    truth, _, y, variance = stripes(shape=shape, colours=colours)
    x = collaborative_wiener(truth, y, variance, everywhere(y))
    assert x.values.shape == truth.shape
    # a pixel that no block covered would be 0, a hundred away
    assert (x.values - truth).abs().max() < 5 * 5
    assert (x.variance > 0).all()


def test_a_constant_pilot_leaves_no_pixel_out():
    # hundreds of blocks are then as near as a block itself, which must not be left out of its group
    _, _, y, variance = stripes()
    x = collaborative_wiener(torch.full_like(y, 100.0), y, variance, everywhere(y)).values
    assert (x - 100).abs().max() < 10


def test_a_source_alone_keeps_its_flux():
    truth, _, _, variance = (torch.zeros(1, 1, 64, 64, dtype=torch.float64) for _ in range(4))
    variance += 25
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    star = 60 * torch.exp(-((y - 31.0) ** 2 + (x - 30.0) ** 2) / (2 * 1.5**2))
    truth += star
    measured = truth + 5 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(3))
    kept = collaborative_wiener(truth, measured, variance, everywhere(truth)).values
    near = np.s_[..., 26:37, 25:36]
    assert 0.93 < kept[near].sum() / star[26:37, 25:36].sum() < 1.07
    assert kept[..., :16].abs().max() < 1.5  # of noise of 5


@pytest.mark.slow
def test_images_of_a_batch_and_channels_beyond_colours_are_filtered_one_by_one():
    _, pilot, y, variance = stripes(colours=6)
    x = collaborative_wiener(pilot, y, variance, everywhere(y))
    alone = collaborative_wiener(pilot[:, 4:5], y[:, 4:5], variance[:, 4:5], everywhere(y)[:, 4:5])
    assert torch.equal(x.values[:, 4:5], alone.values)
    _, pilots, ys, _ = (torch.cat(pair) for pair in zip(stripes(0), stripes(1), strict=True))
    both = collaborative_wiener(pilots, ys, variance[:1, :1].expand_as(ys), everywhere(ys))
    second = collaborative_wiener(pilots[1:], ys[1:], variance[:1, :1], everywhere(ys[1:]))
    torch.testing.assert_close(both.values[1:], second.values)


@pytest.mark.slow
def test_images_at_once_are_what_they_are_one_by_one():
    # as on a GPU, where they are not split
    _, pilots, ys, variances = (
        torch.cat(some) for some in zip(*(stripes(n, colours=3) for n in range(3)), strict=True)
    )
    planes = (pilots / 5, ys / 5, variances / 25)
    together = _in_units_of_noise(*planes, 0.0, True, ONLY)
    assert together.values.shape == pilots.shape
    for n in range(3):
        alone = _in_units_of_noise(*(plane[n : n + 1] for plane in planes), 0.0, True, ONLY)
        torch.testing.assert_close(together.values[n : n + 1], alone.values)
        torch.testing.assert_close(together.variance[n : n + 1], alone.variance)


def test_a_second_pass_finds_what_a_poor_pilot_had_lost():
    """A pilot that has lost nine tenths of the contrast: groups are of what is left of it."""
    truth, pilot, y, variance = stripes(blur=0.9, colours=3)
    first = collaborative_wiener(pilot, y, variance, everywhere(y), one=EARLIER).values
    second = collaborative_wiener(first, y, variance, everywhere(y), one=LAST).values
    alone = collaborative_wiener(pilot, y, variance, everywhere(y)).values
    errors = [float((x - truth).square().mean()) for x in (second, alone, first)]
    assert errors[0] < 0.9 * errors[1] < errors[2]


def test_values_do_not_depend_on_whether_the_variance_is_wanted():
    _, pilot, y, variance = stripes(colours=3)
    stated = collaborative_wiener(pilot, y, variance, everywhere(y))
    alone = collaborative_wiener(pilot, y, variance, everywhere(y), stated=False)
    assert torch.equal(stated.values, alone.values)
    assert alone.variance is None


@pytest.mark.slow
def test_the_same_bytes_twice():
    _, pilot, y, variance = stripes(colours=3)
    first = collaborative_wiener(pilot, y, variance, everywhere(y))
    again = collaborative_wiener(pilot, y, variance, everywhere(y))
    assert torch.equal(first.values, again.values)
    assert torch.equal(first.variance, again.variance)


def test_the_transform_is_orthonormal_and_its_squares_carry_the_variance():
    like = torch.zeros((), dtype=torch.float64)
    basis = _Basis(32, 0.0, 0.6, like)
    rng = torch.Generator().manual_seed(0)
    groups = torch.randn(3, 32, 2, 36, generator=rng, dtype=torch.float64)
    there = _transformed(groups, basis.forward)
    torch.testing.assert_close(there.square().sum(), groups.square().sum())
    back = _transformed(there, [matrix.T for matrix in basis.forward])
    torch.testing.assert_close(back, groups)
    one = torch.full_like(groups, 7.0)
    torch.testing.assert_close(_transformed(one, basis.squared), one)
    # noise in one pixel alone: each coefficient has its basis function's square there
    single = torch.zeros_like(groups)
    single[0, 5, 1, 8] = 3.0
    amplitude = torch.zeros_like(groups)
    amplitude[0, 5, 1, 8] = 1.0
    expected = 3.0 * _transformed(amplitude, basis.forward).square()
    torch.testing.assert_close(_transformed(single, basis.squared), expected)


@pytest.mark.parametrize("lag1", [0.0, 0.2, 0.5, -0.3])
def test_the_spectrum_of_correlated_noise_is_that_of_noise_made_so(lag1):
    basis = _Basis(1, lag1, 0.6, torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(basis.share.mean(), torch.ones((), dtype=torch.float64))
    t = torch.arange(6)
    covariance = max(lag1, 0.0) ** (t[:, None] - t).abs().double()
    factor = torch.linalg.cholesky(covariance)
    rng = torch.Generator().manual_seed(1)
    white = torch.randn(20000, 6, 6, generator=rng, dtype=torch.float64)
    made = factor @ white @ factor.T
    basis_of_rows = torch.from_numpy(cosine_matrix(6))
    found = (basis_of_rows @ made @ basis_of_rows.T).square().mean(0).flatten()
    torch.testing.assert_close(found, basis.share, rtol=0.06, atol=0.01)


def test_blocks_in_steps_reach_the_last_row_and_column():
    # the last block of 53 pixels in steps of 3 would end at 51
    assert (53 - 6) % STEP != 0
    truth, _, y, variance = stripes(shape=(53, 53))
    y[..., -1, :] += 1000
    marked = truth.clone()
    marked[..., -1, :] += 1000
    x = collaborative_wiener(marked, y, variance, everywhere(y)).values
    assert (x[..., -1, :] - marked[..., -1, :]).abs().max() < 25
