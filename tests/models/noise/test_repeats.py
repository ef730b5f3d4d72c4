"""A pattern that repeats is not noise, whatever its contrast; the noise beside it is found."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from glassplate.models.noise.description import describe_noise
from glassplate.models.noise.estimate import BESIDE_A_PATTERN, estimate_noise
from glassplate.models.noise.model import NoiseSettings
from glassplate.models.noise.repeats import LEAST_SIDE, without_repeats

AUTO = NoiseSettings()
SIDE = 256


def weave():
    y, x = np.mgrid[:SIDE, :SIDE]
    return (128 + 30 * np.sin(2 * np.pi * x / 6) * np.sin(2 * np.pi * y / 7))[None]


def bricks():
    """Rough bricks in bond."""
    rough = np.random.default_rng(5).standard_normal((24, 40))
    cell = 120 + 40 * ndimage.gaussian_filter(rough, 0.7, mode="wrap")
    y, x = np.mgrid[:24, :40]
    cell[(y % 12 < 2) | ((x + 20 * (y // 12)) % 40 < 2)] = 200
    return np.tile(cell, (SIDE // 24 + 1, SIDE // 40 + 1))[None, :SIDE, :SIDE]


def halftone():
    """A screen whose period is no whole number of pixels."""
    y, x = np.mgrid[:SIDE, :SIDE] * (2 * np.pi / 5 * np.sqrt(0.5))
    return (255 / (1 + np.exp(-4 * (np.cos(x + y) + np.cos(x - y) + 0.3))))[None]


def windows(image, side=128):
    return [
        (image[:, y : y + side, x : x + side], np.ones((len(image), side, side), bool))
        for y in range(0, SIDE, side)
        for x in range(0, SIDE, side)
    ]


def noise(channels=1, radius=0.0, seed=0):
    white = np.random.default_rng(seed).standard_normal((channels, SIDE, SIDE))
    grain = ndimage.gaussian_filter(white, (0, radius, radius), mode="wrap") if radius else white
    return grain / grain.std()


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("pattern", [weave, bricks])
def test_a_pattern_without_noise_has_none(pattern, rounded):
    image = np.rint(pattern()) if rounded else pattern()
    found = estimate_noise(windows(image), AUTO)
    assert found.floor == found.slope == 0
    assert describe_noise(windows(image), found, "levels").words == "none"


# with the pattern, they were found at 13, 16 and 95 levels (docs/design/018-seen-noise.md)
@pytest.mark.parametrize(("pattern", "rel"), [(weave, 0.05), (bricks, 0.05), (halftone, 0.12)])
def test_white_noise_on_a_pattern_is_found(pattern, rel):
    samples = windows(pattern() + 4 * noise())
    found = estimate_noise(samples, AUTO)
    assert found.floor**0.5 == pytest.approx(4, rel=rel)
    assert not found.correlated
    assert found.origin.endswith(BESIDE_A_PATTERN)
    assert describe_noise(samples, found, "levels").confidence == "high"


def test_coloured_grain_on_a_pattern_is_found():
    samples = windows(np.repeat(bricks(), 3, 0) + 4 * noise(3, radius=1))
    found = estimate_noise(samples, AUTO)
    assert found.floor**0.5 == pytest.approx(4, rel=0.08)
    assert found.correlated
    described = describe_noise(samples, found, "levels")
    assert described.brightness == pytest.approx(4 / 3**0.5, rel=0.15)


@pytest.mark.parametrize("radius", [0, 0.8, 2])
def test_noise_alone_has_no_pattern(radius):
    assert without_repeats(windows(100 + 5 * noise(radius=radius))) is None


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), st.floats(1e-6, 1e6), st.floats(-100, 100))
def test_the_noise_of_differences_is_that_of_the_image(seed, sigma, level):
    image = sigma * (level + (weave() - 128) + 4 * noise(seed=seed))[..., :128, :128]
    ((found, valid),) = without_repeats([(image, np.ones(image.shape, bool))])
    assert found[valid].std() == pytest.approx(4 * sigma, rel=0.1)
    assert abs(found[valid].mean()) < sigma


def test_invalid_pixels_do_not_count():
    image = weave() + 4 * noise()
    valid = np.ones(image.shape, bool)
    valid[:, 40:60, 70:90] = False
    spoiled = np.where(valid, image, 1e6)
    ((found, known),) = without_repeats([(spoiled, valid)])
    assert np.abs(found[known]).max() < 40
    assert not known.all()


def test_small_windows_and_none_are_left_as_they_are():
    small = weave()[:, : LEAST_SIDE - 1, : LEAST_SIDE - 1]
    assert without_repeats([(small, np.ones(small.shape, bool))]) is None
    assert without_repeats([]) is None
    nothing = np.zeros((1, 128, 128))
    assert without_repeats([(nothing, np.zeros(nothing.shape, bool))]) is None
    assert without_repeats([(nothing, np.ones(nothing.shape, bool))]) is None


def test_edges_are_no_pattern():
    """Railings of a crop of PolyU were, and its noise came to 0.8 of what it was."""
    y, x = np.mgrid[:SIDE, :SIDE]
    edges = sum(60.0 * (x > 70 * n + 0.1 * y) * (-1) ** n for n in range(4))
    assert without_repeats(windows(edges[None] + 3 * noise())) is None


def test_stripes_are_a_pattern_if_they_are_in_most_windows():
    y, x = np.mgrid[:SIDE, :SIDE]
    stripes = 128 + 30 * np.sin(2 * np.pi * (x + 0.3 * y) / 6.5)[None]
    assert without_repeats(windows(stripes)) is not None
    stripes[..., 128:] = 100
    stripes[:, 128:] = 100
    assert without_repeats(windows(stripes + 3 * noise())) is None


def test_two_stars_are_no_pattern():
    y, x = np.mgrid[:128, :128]
    stars = sum(1e4 * np.exp(-((y - r) ** 2 + (x - c) ** 2) / 4) for r, c in ((40, 40), (80, 70)))
    image = (stars + 100 + 3 * noise()[0, :128, :128])[None]
    assert without_repeats([(image, np.ones(image.shape, bool))]) is None
