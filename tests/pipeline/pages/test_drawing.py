"""Values become greys in their order, and pictures keep their pixels."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shown_pages import decoded

from glassplate.pipeline.pages.drawing import (
    INVALID,
    Stretch,
    choose_stretch,
    jpeg,
    picture,
    png,
    removed_picture,
)

SKY = SimpleNamespace(is_photograph=False, colours="grey", white=1.0, first_row_is_lowest=True)
PHOTO = SimpleNamespace(is_photograph=True, colours="rgb", white=255.0, first_row_is_lowest=False)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.none() | st.floats(1e-3, 1e3))
def test_a_stretch_keeps_the_order_and_reaches_both_ends(low, height, linear):
    values = np.linspace(low - height, low + 2 * height, 50)
    greys = Stretch(low, low + height, linear).greys(values).astype(int)
    assert (np.diff(greys) >= 0).all()
    assert greys[0] == 0
    assert greys[-1] == 255


def test_noise_of_a_sky_is_seen_beside_bright_stars():
    rng = np.random.default_rng(0)
    sky = rng.normal(100, 5, (1, 80, 80))
    sky[0, 40, 40:60] = 50_000
    stretch = choose_stretch(SKY, sky, 5.0)
    assert stretch.greys(sky).std() > 5
    assert Stretch(stretch.low, stretch.high).greys(sky[sky < 200]).std() < 1


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (np.full((1, 4, 4), np.nan), SKY),
        (np.full((1, 4, 4), 7.0), SKY),
        (np.zeros((3, 4, 4)), PHOTO),
        (np.arange(16.0).reshape(1, 4, 4) - 1e30, SKY),
    ],
)
def test_any_image_has_a_stretch(values, shown):
    stretch = choose_stretch(shown, values, None)
    assert stretch.high > stretch.low
    assert picture(shown, values, stretch).dtype == np.uint8


def test_a_photograph_is_drawn_from_black_to_white_and_a_dark_one_stretched():
    bright = np.linspace(0, 255, 300).reshape(3, 10, 10)
    assert choose_stretch(PHOTO, bright, 1.0) == Stretch(0.0, 255.0)
    assert choose_stretch(PHOTO, bright / 10, 1.0).high < 30


def test_a_grey_picture_keeps_its_pixels_and_its_rows_are_turned():
    values = np.arange(12.0).reshape(1, 3, 4)
    drawn = decoded(png(picture(SKY, values, Stretch(0, 255))))
    np.testing.assert_array_equal(drawn, values[0, ::-1])


def test_invalid_pixels_are_violet():
    values = np.arange(12.0).reshape(1, 3, 4)
    values[0, 0, 1] = np.nan
    drawn = picture(SKY, values, Stretch(0, 255))
    assert tuple(drawn[2, 1]) == INVALID
    assert tuple(drawn[2, 2]) == (2, 2, 2)


def test_inks_become_light():
    shown = SimpleNamespace(**{**vars(PHOTO), "colours": "cmyk"})
    no_ink = picture(shown, np.zeros((4, 2, 2)), Stretch(0, 255))
    black = picture(shown, np.full((4, 2, 2), 255.0), Stretch(0, 255))
    assert (no_ink == 255).all()
    assert (black == 0).all()


def test_nothing_removed_is_middle_grey():
    drawn = removed_picture(SKY, np.zeros((1, 4, 4)), 0.0)
    assert set(np.unique(drawn)) <= {127, 128}
    assert decoded(jpeg(drawn)).shape == (4, 4)
