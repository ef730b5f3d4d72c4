"""CIE Lab agrees with scikit-image and inverts, and added chroma keeps the lightness."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from glassplate.models.colour import (
    add_chroma,
    lightness,
    linear_from_srgb,
    srgb_from_linear,
    srgb_to_lab,
)

LEVELS = np.linspace(0, 1, 256)


def colours(count=400):
    return np.random.default_rng(0).random((3, count))


def test_lab_is_that_of_scikit_image():
    color = pytest.importorskip("skimage.color")
    theirs = color.rgb2lab(colours().T).T
    np.testing.assert_allclose(srgb_to_lab(colours()), theirs, atol=0.01)


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((1, 1, 1), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 1, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 1), (32.30, 79.19, -107.86)),
    ],
)
def test_lab_of_known_colours(rgb, lab):
    np.testing.assert_allclose(srgb_to_lab(np.array(rgb, "f8")), lab, atol=0.02)


def test_grey_has_no_chroma_and_its_lightness():
    lab = srgb_to_lab(np.stack([LEVELS] * 3))
    np.testing.assert_allclose(lab[1:], 0, atol=1e-12)
    np.testing.assert_allclose(lab[0], lightness(LEVELS), atol=1e-12)


def test_a_colour_is_recovered_from_its_lightness_and_chroma():
    lab = srgb_to_lab(colours())
    # the grey of the same lightness
    grey = srgb_from_linear(np.where(lab[0] > 8, ((lab[0] + 16) / 116) ** 3, lab[0] / 903.2963))
    np.testing.assert_allclose(add_chroma(grey, lab[1:]), colours(), atol=1e-9)


def test_linear_light_inverts():
    values = np.linspace(-0.2, 1.3, 100)
    np.testing.assert_allclose(srgb_from_linear(linear_from_srgb(values)), values, atol=1e-4)


@given(
    arrays(np.float64, 20, elements=st.floats(0, 1)),
    arrays(np.float64, (2, 20), elements=st.floats(-200, 200)),
)
def test_chroma_does_not_change_the_lightness(grey, chroma):
    rgb = add_chroma(grey, chroma)
    assert ((rgb >= 0) & (rgb <= 1)).all()
    np.testing.assert_allclose(srgb_to_lab(rgb)[0], lightness(grey), atol=1e-4)


def test_too_much_chroma_keeps_its_hue():
    grey = np.full(50, 0.5)
    angle = np.linspace(0, 2 * np.pi, 50)
    chroma = 150 * np.stack([np.cos(angle), np.sin(angle)])
    _, a, b = srgb_to_lab(add_chroma(grey, chroma))
    np.testing.assert_allclose(np.cos(np.arctan2(b, a) - angle), 1, atol=1e-6)
    assert (np.hypot(a, b) > 20).all()


def test_values_beyond_black_and_white_do_not_change():
    grey = np.array([-0.5, 0.0, 1.0, 1.7])
    rgb = add_chroma(grey, np.full((2, 4), 30.0))
    np.testing.assert_allclose(rgb, np.stack([grey] * 3), atol=1e-5)


def test_without_chroma_grey_stays_bit_identical():
    np.testing.assert_array_equal(add_chroma(LEVELS, np.zeros((2, 256))), np.stack([LEVELS] * 3))
