"""The spectrum in a page is that of the noise in the image."""

from dataclasses import replace

import numpy as np
import pytest

from glassplate.models.noise.description import describe_noise
from glassplate.models.noise.estimate import estimate_noise
from glassplate.models.noise.model import NoiseSettings
from glassplate.models.noise.noise_spectrum import FREQUENCIES, power_by_frequency, radius_of
from glassplate.pipeline.pages.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from glassplate.pipeline.pages.noise_plot import noise_plot


def described(noise):
    samples = [(100.0 + noise, np.ones(noise.shape, bool))]
    return describe_noise(samples, estimate_noise(samples, NoiseSettings()), "levels")


def white(channels=1):
    return np.random.default_rng(0).normal(0, 5, (channels, 256, 256))


def smoothed(values):
    return sum(np.roll(values, (y, x), (1, 2)) for y in (0, 1) for x in (0, 1)) / 2


def points(text):
    return np.array([[float(number) for number in point.split(",")] for point in text.split()])


@pytest.mark.parametrize("side", [8, 16])
def test_white_noise_has_the_same_power_everywhere(side):
    assert power_by_frequency(np.full(side**2, 3.0)) == (1.0,) * len(FREQUENCIES)


@pytest.mark.parametrize("side", [8, 16])
def test_a_frequency_has_the_power_of_its_ring(side):
    spectrum = 1 / (1 + radius_of(side) / side) ** 2
    power = np.array(power_by_frequency(spectrum)) * spectrum.mean()
    assert power == pytest.approx(1 / (1 + 2 * np.array(FREQUENCIES)) ** 2, rel=0.03)


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        (white(), "about as strong at all frequencies, as white noise is"),
        (smoothed(white()), "The noise is smooth: the longest waves have"),
        (white() - np.roll(white(), 1, 2), "The noise is fine: the shortest waves have"),
    ],
)
def test_the_words_say_what_kind_of_noise_it_is(noise, words):
    plot = noise_plot(described(noise))
    assert words in plot.words
    assert not plot.lines
    x, y = points(plot.middle).T
    assert ((x >= LEFT) & (x <= WIDTH - RIGHT + 0.1) & (y >= TOP) & (y <= HEIGHT - BOTTOM)).all()
    assert len(plot.y_ticks) >= 1


def test_brightness_and_colours_have_each_a_line():
    rng = np.random.default_rng(0)
    grey = smoothed(rng.normal(0, 12, (1, 256, 256)))
    plot = noise_plot(described(grey + rng.normal(0, 2, (3, 256, 256))))
    assert "the dashed one the colours" in plot.words
    (colours,) = plot.lines
    # the smooth brightness is above the colours in long waves
    assert points(plot.middle)[0, 1] < points(colours)[0, 1]


def test_nothing_is_drawn_where_no_spectrum_is_known():
    assert noise_plot(None) is None
    assert noise_plot(replace(described(white()), power=())) is None
