"""Channels are rotated to brightness and colour, and back."""

import pytest
import torch

from glassplate.models.estimate.colour_components import (
    channel_sigma,
    colour_axes,
    colour_components,
    colour_variance,
)


def planes(channels):
    return torch.rand((2, channels, 5, 7), generator=torch.Generator().manual_seed(channels))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_there_and_back(channels):
    given = planes(channels)
    there = colour_components(given)
    torch.testing.assert_close(there.square().sum(), given.square().sum())
    torch.testing.assert_close(colour_components(there, inverse=True), given)


def test_grey_has_no_colour():
    grey = planes(1).expand(-1, 3, -1, -1)
    there = colour_components(grey)
    torch.testing.assert_close(there[:, :1], grey[:, :1] * 3**0.5)
    assert there[:, 1:].abs().max() < 1e-6


def test_more_channels_than_colours_stay_as_they_are():
    assert torch.equal(colour_components(planes(5)), planes(5))
    assert torch.equal(colour_variance(planes(5)), planes(5))


def test_the_variance_is_that_of_independent_channels():
    given = torch.tensor([1.0, 4.0, 9.0]).view(1, 3, 1, 1)
    noise = given.sqrt() * torch.randn(
        (200_000, 3, 1, 1), generator=torch.Generator().manual_seed(0)
    )
    there = colour_components(noise).square().mean(0, keepdim=True)
    torch.testing.assert_close(colour_variance(given), there, rtol=0.02, atol=0)


class TestAxes:
    SIGMA = torch.tensor([[1.0, 2.0, 4.0], [3.0, 3.0, 3.0]]).view(2, 3, 1, 1)

    def test_they_are_orthonormal(self):
        axes = colour_axes(self.SIGMA)
        eye = torch.eye(3).expand(2, 3, 3)
        torch.testing.assert_close(axes @ axes.mT, eye)

    def test_a_grey_scene_is_all_brightness(self):
        grey = torch.rand((2, 1, 4, 4)).expand(-1, 3, -1, -1)
        there = colour_components(grey / self.SIGMA, axes=colour_axes(self.SIGMA))
        assert there[:, 1:].abs().max() < 1e-6

    def test_channels_that_are_alike_have_cosines(self):
        axes = colour_axes(self.SIGMA)
        given = planes(3)
        assert torch.equal(colour_components(given, axes=axes)[1], colour_components(given)[1])

    @pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
    def test_there_and_back(self, channels):
        given, sigma = planes(channels), 1 + planes(channels)[..., :1, :1]
        axes = colour_axes(sigma)
        there = colour_components(given, axes=axes)
        torch.testing.assert_close(colour_components(there, True, axes), given)

    def test_the_usual_noise_of_a_channel(self):
        variance = torch.tensor([4.0, 9.0]).view(1, 2, 1, 1).expand(1, 2, 3, 3).clone()
        noisy = torch.ones((1, 2, 3, 3), dtype=torch.bool)
        variance[0, 0, 0, 0], noisy[0, 0, 1, 1] = 1000.0, False
        assert channel_sigma(variance, noisy).flatten().tolist() == [2.0, 3.0]
        noisy[:, 1] = False  # a channel without noise has that of the others
        assert channel_sigma(variance, noisy).flatten().tolist() == [2.0, 2.0]
