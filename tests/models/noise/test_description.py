"""The description says what the noise is: white or in grains, of brightness or of colours, how well known."""

import numpy as np
import pytest
from scipy import ndimage

from glassplate.models.noise.components import measure_components
from glassplate.models.noise.description import COARSE, NoiseDescription, describe_noise
from glassplate.models.noise.estimate import estimate_noise, typical_sigma
from glassplate.models.noise.model import NoiseModel, NoiseSettings


def grains(channels=1, radius=0.0, sigma=5.0, side=256, seed=0):
    """Noise whose grains are a Gaussian of this radius, the same sigma in each channel."""
    noise = np.random.default_rng(seed).standard_normal((channels, side, side))
    if radius:
        noise = ndimage.gaussian_filter(noise, (0, radius, radius), mode="wrap")
    return noise * (sigma / noise.std())


def whole(image):
    return [(image, np.ones(image.shape, bool))]


def described(image, unit=""):
    return describe_noise(whole(image), estimate_noise(whole(image), NoiseSettings()), unit)


class TestComponents:
    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    def test_parts_add_up_to_the_variance_of_a_channel(self, channels):
        found = measure_components(whole(100 + grains(channels)))
        assert found.variance == pytest.approx(25, rel=0.1)
        assert found.brightness.variance == pytest.approx(25 / channels, rel=0.1)
        assert (found.colour is None) == (channels == 1)

    def test_the_same_noise_in_all_channels_is_brightness_alone(self):
        found = measure_components(
            whole(100 + np.repeat(grains(), 3, axis=0) + grains(3, sigma=0.1))
        )
        assert found.brightness.variance == pytest.approx(25, rel=0.1)
        assert found.colour.variance < 0.1

    def test_many_channels_are_no_colours(self):
        assert measure_components(whole(100 + grains(5))).colour is None

    def test_white_noise_has_grains_of_one_pixel_and_others_larger_ones(self):
        sides = [
            measure_components(whole(100 + grains(radius=radius))).brightness.grain
            for radius in (0, 0.6, 1, 2)
        ]
        assert sides[0] == pytest.approx(1, abs=0.1)
        assert sides == sorted(sides)
        assert sides[-1] >= COARSE

    def test_texture_in_the_brightness_does_not_hide_the_noise_of_colours(self):
        texture = 30 * grains(radius=1, sigma=1, seed=5)
        found = measure_components(whole(100 + texture + grains(3)))
        assert found.colour.variance == pytest.approx(25 * 2 / 3, rel=0.15)

    def test_too_little_is_none(self):
        assert measure_components([]) is None
        assert measure_components(whole(np.zeros((1, 6, 6)))) is None
        nothing_valid = [(np.zeros((3, 64, 64)), np.zeros((3, 64, 64), bool))]
        assert measure_components(nothing_valid) is None


class TestDescription:
    def test_parts_add_up_to_sigma(self):
        found = described(100 + grains(3, radius=0.8))
        assert found.brightness**2 + found.colour**2 == pytest.approx(found.sigma**2)
        assert found.sigma == pytest.approx(5, rel=0.2)

    def test_it_scales_with_the_image(self):
        image = 100 + grains(3, radius=0.8)
        small, large = described(image), described(image * 4)
        assert large.words == small.scaled(2).words

    def test_flat_noise_is_known_well_and_texture_badly(self):
        assert described(100 + grains()).confidence == "high"
        rough = grains(radius=1, sigma=1, seed=3) * np.geomspace(1, 3000, 256) + grains(sigma=0.1)
        assert described(rough).confidence != "high"

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            (
                {"sigma": 25.0, "brightness": 14.4, "colour": 20.4, "colour_grain": 1.0},
                "white, 25 levels; confidence high, 43% of the image shows little but noise",
            ),
            (
                {"correlated": True, "colour": 5.2, "colour_grain": 6.0, "brightness": 3.1, "grain": 4.0},
                "coarse grain, 3.1 levels at 4 pixels, colour noise 5.2 levels at 6 pixels; "
                "confidence high, 43% of the image shows little but noise",
            ),
            (
                {"correlated": True, "grain": 1.6, "brightness": 3.0, "flat": 0.01, "unit": "adu"},
                "grain, 3 adu at 1.6 pixels; confidence low, 1% of the image shows little but noise",
            ),
            (
                {"grows": True, "unit": "", "flat": 0.1, "sigma": 2.0},
                "white, 2, growing with brightness; confidence fair, 10% of the image shows little but noise",
            ),
            (
                {"channels": (2.0, 3.0, 4.0), "colour": 2.4, "grows": True},
                "white, 3 levels, by channel 2, 3, 4, growing with brightness; "
                "confidence high, 43% of the image shows little but noise",
            ),
            ({"sigma": 0.0}, "none"),
        ],
    )  # fmt: skip
    def test_words(self, given, words):
        usual = {
            "sigma": 3.0, "brightness": 3.0, "colour": None, "grain": 1.0, "colour_grain": None,
            "correlated": False, "grows": False, "flat": 0.43, "unit": "levels",
        }  # fmt: skip
        assert NoiseDescription(**{**usual, **given}).words == words

    @pytest.mark.parametrize("radius", [0.0, 0.8])
    def test_each_channel_has_its_own_sigma(self, radius):
        sigmas = np.array([2.0, 4.0, 8.0])
        found = described(100 + sigmas[:, None, None] / 5 * grains(3, radius), "levels")
        assert found.channels == pytest.approx(sigmas, rel=0.1)
        assert found.scaled(1).channels == tuple(2 * sigma for sigma in found.channels)
        assert ", by channel " in found.words

    def test_channels_that_are_alike_are_not_told_apart(self):
        found = described(100 + grains(3))
        assert found.channels == ()
        assert "channel" not in found.words
        assert described(100 + grains()).channels == described(100 + grains(5)).channels == ()

    def test_an_image_that_is_too_small_to_be_measured(self):
        found = described(100 + grains(side=6))
        assert found.confidence == "low"
        assert found.flat == 0
        assert found.brightness == found.sigma > 0

    def test_typical_sigma_is_that_of_the_median_pixel(self):
        noise = NoiseModel(floor=1.0, slope=2.0, lag1=0.0, correlated=False, origin="given")
        values = np.array([[[0.0, 4.0, 100.0, np.nan]]])
        assert typical_sigma([(values, np.isfinite(values))], noise) == 3.0
        assert typical_sigma([(values, np.zeros(values.shape, bool))], noise) == 0.0
        assert typical_sigma([], noise) == 0.0
