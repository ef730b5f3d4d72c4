"""Coarse noise of colours goes where brightness says nothing of it; colours that stand out stay."""

import pytest
import torch

from glassplate.models.estimate.colour_components import colour_components
from glassplate.models.estimate.guided_colours import MOST, RATIO, guided_colours
from glassplate.models.filters import gaussian_blur

SIDE = 96
SIGMA = 2.0


def rgb(*planes):
    """Brightness and two differences of colour, each (h, w), to (1, 3, h, w)."""
    return colour_components(torch.stack(planes)[None], inverse=True)


def coarse(seed, sigma=0.5 * SIGMA, radius=3.0):
    """Noise of the differences of colour, smooth over some pixels, (SIDE, SIDE)."""
    noise = torch.randn((1, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(seed))
    noise = gaussian_blur(noise, radius)[0, 0]
    return sigma * noise / noise.std()


def scene():
    """Brightness with an edge and a ramp."""
    plane = torch.linspace(0, 40, SIDE).repeat(SIDE, 1) + 100
    plane[:, SIDE // 2 :] += 60
    return plane


def variance(x, sigma=SIGMA):
    return torch.full_like(x, sigma**2)


def colours_of(x):
    return colour_components(x)[0, 1:]


def test_brightness_is_untouched():
    x = rgb(scene(), coarse(1), coarse(2))
    smooth = guided_colours(x, variance(x))
    torch.testing.assert_close(colour_components(smooth)[:, 0], colour_components(x)[:, 0])


def test_coarse_noise_goes_and_colours_that_follow_brightness_stay():
    light = scene()
    true = rgb(light, 0.3 * light, -0.1 * light)
    noisy = true + rgb(0 * light, coarse(1), coarse(2))
    smooth = guided_colours(noisy, variance(noisy))
    before, after = ((x - true).square().mean().sqrt() for x in (noisy, smooth))
    assert after < 0.55 * before
    across = (colours_of(smooth - true)[:, :, SIDE // 2 - 2 : SIDE // 2 + 2]).abs().mean()
    assert across < 0.05 * 0.3 * 60, "the edge of the colours has moved"


def test_a_colour_that_brightness_does_not_show_stays():
    light = torch.full((SIDE, SIDE), 100.0)
    patch = torch.zeros_like(light)
    patch[30:50, 30:50] = 30.0
    noisy = rgb(light, patch + coarse(1), coarse(2))
    smooth = guided_colours(noisy, variance(noisy))
    before, after = (
        red[32:48, 32:48].mean() - red[60:, 60:].mean()
        for red in (colours_of(noisy)[0], colours_of(smooth)[0])
    )
    assert after == pytest.approx(float(before), rel=0.03)


def texture():
    """A difference of colour as strong everywhere, of many times the noise."""
    return 10 * coarse(3)


def lost(first, second, sigma):
    """Mean square of what is taken from the first difference of colour."""
    x = rgb(scene(), first, second)
    return float(colours_of(guided_colours(x, variance(x, sigma)) - x)[0].square().mean())


def test_texture_beyond_the_noise_loses_a_part_of_the_noise_at_most():
    both = texture(), 10 * coarse(4)
    assert lost(*both, SIGMA) < 2 * MOST * SIGMA**2 < 0.1 * lost(*both, 100 * SIGMA)


def test_texture_of_one_colour_loses_a_part_of_what_the_other_has_at_most():
    alone = lost(texture(), coarse(4), 100 * SIGMA)
    of_the_other = coarse(4).square().mean()
    assert alone < 2 * RATIO * of_the_other < 0.1 * lost(texture(), 10 * coarse(4), 100 * SIGMA)


def test_colours_without_noise_stay():
    light = scene()
    x = rgb(light, 0 * light, 0 * light)
    torch.testing.assert_close(guided_colours(x, variance(x)), x)


def test_pixels_without_noise_are_left():
    x = rgb(scene(), coarse(1), coarse(2))
    noise = variance(x)
    noise[..., :10, :] = 0
    smooth = guided_colours(x, noise)
    assert torch.equal(smooth[..., :10, :], x[..., :10, :])
    assert not torch.equal(smooth[..., 10:, :], x[..., 10:, :])
    assert torch.isfinite(smooth).all()


@pytest.mark.parametrize("factor", [0.25, 1024.0])
def test_the_unit_does_not_matter(factor):
    x = rgb(scene(), coarse(1), coarse(2))
    in_unit = guided_colours(factor * x, factor**2 * variance(x))
    torch.testing.assert_close(in_unit, factor * guided_colours(x, variance(x)), rtol=1e-4, atol=0)


def test_images_are_smoothed_each_for_itself():
    images = [rgb(scene(), coarse(n), coarse(n + 1)) * (1 + n) for n in range(3)]
    together = guided_colours(torch.cat(images), variance(torch.cat(images)))
    for x, result in zip(images, together, strict=True):
        torch.testing.assert_close(guided_colours(x, variance(x))[0], result)


@pytest.mark.parametrize("shape", [(1, 1, 32, 32), (1, 5, 32, 32), (1, 3, 1, 40), (1, 3, 7, 7)])
def test_what_has_no_colours_or_no_room_is_left(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert guided_colours(x, torch.ones_like(x)) is x


@pytest.mark.parametrize("shape", [(2, 2, 8, 8), (1, 3, 8, 50), (1, 4, 33, 17)])
def test_small_windows_are_finite(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(guided_colours(x, torch.ones_like(x))).all()
