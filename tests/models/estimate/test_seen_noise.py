"""The noise that a blind prediction shows decides what of a measurement of correlated noise is kept."""

import pytest
import torch

from glassplate.models.estimate.colour_components import colour_components
from glassplate.models.estimate.posterior import posterior_mean
from glassplate.models.estimate.seen_noise import (
    ELSEWHERE,
    LEAST,
    by_brightness,
    correlation_area,
    posterior_with_seen,
    seen_noise,
)

SIDE, RADIUS = 96, 5.0


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def correlated(lag1, channels=1, seed=0):
    """Separable autoregressive noise of variance 1, (1, C, SIDE, SIDE)."""
    noise = torch.randn((1, channels, SIDE, SIDE), generator=generator(seed))
    for axis in (2, 3):
        lines = noise.movedim(axis, 0).clone()
        for n in range(1, SIDE):
            lines[n] = lag1 * lines[n - 1] + (1 - lag1**2) ** 0.5 * lines[n]
        noise = lines.movedim(0, axis)
    return noise


def everywhere(planes):
    return torch.ones(planes.shape, dtype=torch.bool)


@pytest.mark.parametrize(
    ("factor", "expected"),
    [(0.5, ELSEWHERE), (1.0, ELSEWHERE), (1.1, ELSEWHERE / 1.1**4), (1.3, 1.0), (4.0, 1.0)],
)
def test_a_residual_stronger_than_the_model_is_structure(factor, expected):
    """Noise has more than the model's variance only where structure is predicted well."""
    noise = factor * torch.randn((1, 1, SIDE, SIDE), generator=generator())
    [[seen]] = seen_noise(0 * noise, noise, torch.ones_like(noise), everywhere(noise))
    assert float(seen) == pytest.approx(expected, rel=0.1)


def test_brightness_and_colours_are_seen_apart():
    grey = 0.9 * torch.randn((1, 1, SIDE, SIDE), generator=generator()).expand(-1, 3, -1, -1)
    [seen] = seen_noise(0 * grey, grey, torch.ones_like(grey), everywhere(grey))
    assert float(seen[0]) == pytest.approx(3 * ELSEWHERE, rel=0.06)
    assert seen[1:].tolist() == pytest.approx([LEAST] * 2)


def ramp():
    """Brightness that rises from left to right, 0 to 100."""
    return torch.linspace(0, 100, SIDE).expand(1, 1, SIDE, SIDE)


def test_noise_that_depends_on_brightness_is_seen():
    """Shadows with three times the noise of the lights; the model says one for all."""
    mu, sigma = ramp(), 3 - 2 * ramp() / 100
    y = mu + sigma * torch.randn(mu.shape, generator=generator())
    factor = by_brightness(mu, y, torch.ones_like(mu), everywhere(mu))
    expected = sigma[0, 0, 0] ** 2 / 4  # the median is that of the middle
    middle = factor[0, 0].median(0).values
    assert (middle[10:-10] / expected[10:-10]).log().abs().max() < 0.45
    assert middle[10] > 1.6 * middle[48] > 2.5 * middle[-10]


def test_noise_that_does_not_depend_on_brightness_is_the_models():
    mu = ramp()
    y = mu + 2 * torch.randn(mu.shape, generator=generator())
    factor = by_brightness(mu, y, torch.ones_like(mu), everywhere(mu))
    assert factor.log().abs().max() < 0.2


@pytest.mark.parametrize("valid", [0, 200])
def test_of_few_pixels_nothing_is_told(valid):
    mu = ramp()
    known = torch.zeros(mu.shape, dtype=torch.bool)
    known.flatten()[:valid] = True
    y = mu + 5 * torch.randn(mu.shape, generator=generator())
    assert (by_brightness(mu, y, torch.ones_like(mu), known) == 1).all()


def test_one_brightness_everywhere_has_one_noise():
    mu = torch.full((2, 3, SIDE, SIDE), 7.0)
    y = mu + torch.randn(mu.shape, generator=generator())
    factor = by_brightness(mu, y, torch.ones_like(mu), everywhere(mu))
    assert factor.shape == (2, 1, SIDE, SIDE)
    assert factor.isfinite().all()
    assert factor.log().abs().max() < 0.5


def test_a_structure_in_a_corner_is_not_seen():
    noise = torch.randn((1, 1, SIDE, SIDE), generator=generator())
    changed = noise.clone()
    changed[..., :30, :30] += 100
    of_both = [seen_noise(0 * y, y, torch.ones_like(y), everywhere(y)) for y in (noise, changed)]
    torch.testing.assert_close(of_both[1], of_both[0], rtol=0.15, atol=0)


def test_invalid_pixels_do_not_matter():
    noise = torch.randn((1, 2, SIDE, SIDE), generator=generator())
    valid = torch.rand(noise.shape, generator=generator(1)) > 0.1
    spoilt = torch.where(valid, noise, 1e9)
    of_both = [seen_noise(0 * y, y, torch.ones_like(y), valid) for y in (noise, spoilt)]
    assert torch.equal(*of_both)
    nothing = seen_noise(0 * noise, noise, torch.ones_like(noise), torch.zeros_like(valid))
    assert nothing.tolist() == [[ELSEWHERE] * 2]


def test_a_window_is_seen_alone_as_with_others():
    noise = torch.randn((3, 3, SIDE, SIDE), generator=generator()) * torch.tensor(
        [1, 1.3, 1.6]
    ).view(3, 1, 1, 1)
    together = seen_noise(0 * noise, noise, torch.ones_like(noise), everywhere(noise))
    for n in range(3):
        one = noise[n : n + 1]
        alone = seen_noise(0 * one, one, torch.ones_like(one), everywhere(one))
        torch.testing.assert_close(alone[0], together[n])


@pytest.mark.parametrize("lag1", [0.0, 0.3, 0.7])
def test_the_area_is_that_of_the_scatter_of_variances(lag1):
    """The mean of squares over an area scatters as that of so many fewer independent pixels."""
    means = [correlated(lag1, seed=seed).square().mean() for seed in range(60)]
    found = float(torch.stack(means).var() * SIDE**2 / 2)
    assert found == pytest.approx(correlation_area(lag1), rel=0.6)


def test_correlated_noise_of_one_colour_is_not_given_back():
    """With white noise of the model's variance much of it was: camera JPEGs came out as they went in."""
    truth = torch.full((1, 3, SIDE, SIDE), 100.0)
    y = truth + 3 * correlated(0.65).expand(-1, 3, -1, -1)
    variance = torch.full_like(y, 2.7**2)  # as a noise that is taken for too little
    seen = seen_noise(truth, y, variance, everywhere(y))
    x = posterior_with_seen(
        truth, y, variance, everywhere(y), seen, RADIUS, correlation_area(0.65) ** 0.5
    )
    assert (x - truth).std() < 0.1 * 3
    white = posterior_mean(truth, y, variance, everywhere(y), RADIUS)
    assert (white - truth).std() > 0.3 * 3


def test_structure_that_was_not_predicted_is_given_back():
    blind = torch.full((1, 1, SIDE, SIDE), 100.0)
    y = blind + correlated(0.5)
    y[..., 40:56, 40:56] += 20 * torch.sign(torch.randn((16, 16), generator=generator(3)))
    variance = torch.ones_like(y)
    seen = seen_noise(blind, y, variance, everywhere(y))
    x = posterior_with_seen(blind, y, variance, everywhere(y), seen, RADIUS, 1.0)
    inside = (slice(None), slice(None), slice(44, 52), slice(44, 52))
    assert (x - y)[inside].abs().max() < 2


def test_pixels_without_noise_and_without_a_measurement():
    mu, y = torch.full((1, 3, 40, 40), 5.0), torch.full((1, 3, 40, 40), 9.0)
    variance, valid = torch.ones_like(y), everywhere(y)
    variance[..., 3, 3], valid[:, 1, 7, 7] = 0, False
    y[:, 1, 7, 7] = torch.nan
    seen = seen_noise(mu, y, variance, valid)
    x = posterior_with_seen(mu, y, variance, valid, seen, RADIUS, 1.0)
    assert x[0, :, 3, 3].tolist() == [9, 9, 9]
    assert x[0, :, 7, 7].tolist() == [5, 5, 5]
    assert torch.isfinite(x).all()


def test_the_unit_does_not_matter():
    mu = colour_components(torch.randn((1, 3, 48, 48), generator=generator()))
    y = mu + torch.randn(mu.shape, generator=generator(1))
    one, other = (
        posterior_with_seen(
            f * mu,
            f * y,
            f * f * torch.ones_like(y),
            everywhere(y),
            seen_noise(f * mu, f * y, f * f * torch.ones_like(y), everywhere(y)),
            RADIUS,
            1.0,
        )
        for f in (1.0, 2.0**20)
    )
    torch.testing.assert_close(other / 2.0**20, one, rtol=1e-5, atol=1e-5)
