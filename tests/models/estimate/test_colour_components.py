"""Channels are rotated to brightness and colour, and back."""

import pytest
import torch

from glassplate.models.estimate.colour_components import colour_components, colour_variance


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
