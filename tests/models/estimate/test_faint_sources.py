"""The guard on faint sources: light that stands out comes back, and empty sky stays empty."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from glassplate.models.estimate.faint_sources import Noise, with_significant_light
from glassplate.models.noise.model import NoiseModel

N = 192
SIGMA = 5.0
STEP = 24
WHITE = NoiseModel(SIGMA**2, 0.0, 0.0, False, "test")


def tensor(a):
    return torch.from_numpy(np.ascontiguousarray(a, np.float32))[None, None]


def white(seed=0):
    return SIGMA * np.random.default_rng(seed).standard_normal((N, N))


def correlated(seed=0):
    smooth = ndimage.gaussian_filter(white(seed), 0.8)
    return SIGMA * smooth / smooth.std()


def shape_of(fwhm):
    t = np.arange(N)
    places = np.arange(STEP // 2, N, STEP)
    row = np.exp(-((t[:, None] - places) ** 2) / (2 * (fwhm / 2.355) ** 2)).sum(1)
    one = np.exp(-((t - N // 2) ** 2) / (2 * (fwhm / 2.355) ** 2))
    return np.outer(row, row) / np.outer(one, one).sum()


def stars(significance, fwhm=3.0):
    """Stars of a grid, of so many standard deviations by the optimal filter for white noise."""
    unit = shape_of(fwhm)
    one = unit[:STEP, :STEP]
    return significance * SIGMA / np.sqrt((one**2).sum()) * unit


def flux(image, fwhm=3.0):
    """Mean flux of the stars of the grid, by a fit of their profile and a constant level."""
    one = shape_of(fwhm)[:STEP, :STEP]
    cells = image.reshape(N // STEP, STEP, N // STEP, STEP).swapaxes(1, 2).reshape(-1, STEP * STEP)
    terms = np.stack([one.ravel(), np.ones(one.size)], 1)
    return np.linalg.lstsq(terms, cells.T, rcond=None)[0][0].mean()


def guarded(x, y, model=WHITE, valid=None, threshold=4.0, variance=None):
    x, y = tensor(x), tensor(y)
    valid = torch.ones_like(y, dtype=torch.bool) if valid is None else tensor(valid).bool()
    noise = Noise(torch.full_like(y, SIGMA**2) if variance is None else tensor(variance), model)
    return with_significant_light(x, y, valid, noise, threshold).values[0, 0].numpy()


@pytest.mark.parametrize(("noise", "flux_error"), [(white, 1.0), (correlated, 2.3)])
@pytest.mark.parametrize("significance", [8, 12, 20])
def test_stars_that_were_dimmed_have_their_flux(significance, noise, flux_error):
    # the optimal filter for white noise measures a flux in this correlated noise so many times worse
    sky, field = noise(), stars(flux_error * significance)
    before, after = 0.6 * field, guarded(0.6 * field, field + sky)
    assert flux(before) / flux(field) == pytest.approx(0.6)
    assert flux(after) / flux(field + sky) == pytest.approx(1, abs=0.05)


def test_empty_sky_stays_empty():
    for sky, most in ((white(), 0.05), (correlated(), 0.1)):
        assert guarded(0 * sky, sky).std() < most * SIGMA
        # a noise that is taken too low makes no sources of it
        assert guarded(0 * sky, sky, variance=np.full((N, N), 1.0)).std() < most * SIGMA


def test_noise_in_a_crowded_field_that_is_taken_for_correlated_is_no_source():
    # most of the residual is 0, so the model decides; its finest scales would be almost without noise, and
    # all grain of M13 came back as sources
    sky, model = white(), NoiseModel(SIGMA**2, 0.0, 0.77, True, "test")
    x = np.where(np.arange(N) < 130, sky, 0.0)
    assert guarded(x, sky, model)[:, 150:].std() < 0.05 * SIGMA


def test_what_agrees_is_left_alone():
    field = stars(8)
    np.testing.assert_array_equal(guarded(field, field), field.astype("f4"))


def test_dark_structure_comes_back_too():
    sky, field = white(), stars(20)
    assert flux(guarded(-0.6 * field, sky - field)) / flux(sky - field) == pytest.approx(
        1, abs=0.05
    )


def test_a_dark_source_must_stand_out_more_than_a_light_one():
    """Dark grains of a photographic plate came back as black dots."""
    sky, field = white(), stars(8)
    assert flux(guarded(0 * field, sky + field)) > 0.9 * flux(field)
    assert -flux(guarded(0 * field, sky - field)) < 0.8 * flux(field)


def test_photons_of_an_empty_sky_are_no_sources():
    model = NoiseModel(0.0, 1.0, 0.0, False, "test")
    for level in (0.3, 1.0, 5.0):
        y = np.random.default_rng(2).poisson(level, (N, N))
        sky = np.full((N, N), level)
        after = guarded(sky, y, model, variance=sky)
        assert (after - level).std() < 0.1 * np.sqrt(level)
        assert after.sum() == pytest.approx(sky.sum(), rel=0.02)


def test_an_invalid_pixel_gives_nothing_back():
    sky, valid = white(), np.ones((N, N), bool)
    valid[90:96, 90:96] = False
    spoilt = np.where(valid, sky, 1e6)
    after = guarded(0 * sky, spoilt, valid=valid, variance=np.where(valid, SIGMA**2, np.nan))
    np.testing.assert_array_equal(after, guarded(0 * sky, np.where(valid, sky, -7.0), valid=valid))


def test_without_noise_nothing_is_given_back():
    # the residual of a JPEG without noise is what its compression took, and no lost light
    x = stars(8)
    after = guarded(x, x + white(), variance=np.zeros((N, N)))
    np.testing.assert_array_equal(after, x.astype("f4"))


def test_a_unit_changes_nothing_else():
    y, x, unit = white() + stars(10), 0.5 * stars(10), 2.0**-20
    far = guarded(x * unit, y * unit, variance=np.full((N, N), SIGMA**2 * unit**2))
    np.testing.assert_array_equal(far, guarded(x, y) * np.float32(unit))


@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (8, 8), (9, 33)])
def test_any_size_works(shape):
    y = np.random.default_rng(0).normal(0, SIGMA, shape)
    assert guarded(0 * y, y, variance=np.full(shape, SIGMA**2)).shape == shape


def test_nothing_valid_is_nothing_to_give_back():
    x = stars(8)
    after = guarded(x, white(), valid=np.zeros((N, N)))
    np.testing.assert_array_equal(after, x.astype("f4"))


@pytest.mark.parametrize("noise", [white, correlated])
@pytest.mark.parametrize("significance", [20, 60])
def test_the_noise_that_comes_back_with_light_is_stated(significance, noise):
    field, sky = stars(significance), noise()
    model = WHITE if noise is white else NoiseModel(SIGMA**2, 0.0, 0.65, True, "test")
    y = field + sky
    back = with_significant_light(
        tensor(field),
        tensor(y),
        torch.ones(1, 1, N, N, dtype=torch.bool),
        Noise(torch.full((1, 1, N, N), SIGMA**2), model),
        4.0,
    )
    changed = back.noise > 0
    assert changed.float().mean() > 0.01
    error = (back.values - tensor(field))[changed]
    assert 0.7 < float(error.std() / back.noise[changed].mean().sqrt()) < 1.25
    assert back.noise.max() <= SIGMA**2


def test_no_noise_comes_back_where_no_light_does():
    x = tensor(white())
    valid = torch.ones(1, 1, N, N, dtype=torch.bool)
    sky = with_significant_light(0 * x, 0 * x, valid, Noise(0 * x + SIGMA**2, WHITE), 4.0)
    assert not sky.noise.any()
    too_small = x[..., :7, :7]
    small = with_significant_light(
        too_small, too_small, valid[..., :7, :7], Noise(0 * too_small + 1, WHITE), 4.0
    )
    assert torch.equal(small.values, too_small)
    assert not small.noise.any()
