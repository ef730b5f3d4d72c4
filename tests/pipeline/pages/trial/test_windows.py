"""Windows of a trial lie in the image, do not overlap, and hold what they are named for."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassplate.pipeline.pages.trial.windows import (
    EDGES,
    FLATTEST,
    STEP,
    WHOLE,
    choose_windows,
    window_at,
    window_scores,
)
from glassplate.pipeline.sources.sample_windows import WINDOW


def chosen(values, *, measurements=True, white=np.inf):
    def read(box):
        return values[(slice(None), *box.slices)]

    return choose_windows(read, values.shape[1:], measurements=measurements, white=white)


def check_inside(windows, shape):
    for window in windows:
        assert 0 <= window.box.y0 < window.box.y1 <= shape[0]
        assert 0 <= window.box.x0 < window.box.x1 <= shape[1]
        assert window.box.y0 % STEP == window.box.x0 % STEP == 0
        assert max(window.box.shape) <= WINDOW
    for one, other in itertools.combinations(windows, 2):
        assert one.box.intersection(other.box) is None


@given(
    st.tuples(st.integers(1, 500), st.integers(1, 500)),
    st.sampled_from([1, 3]),
    st.booleans(),
    st.sampled_from([0.0, 0.001, 0.5, 1.0]),
    st.integers(0, 99),
)
def test_windows_lie_in_the_image_and_do_not_overlap(shape, planes, measurements, missing, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(planes, *shape))
    values[rng.random(values.shape) < missing] = np.nan
    windows = chosen(values, measurements=measurements)
    assert windows == chosen(values, measurements=measurements)
    assert len(windows) <= 4
    assert bool(windows) == bool(np.isfinite(values).any())
    check_inside(windows, shape)


def test_each_window_shows_what_it_is_named_for():
    values = np.random.default_rng(0).normal(0, 1, (1, 512, 512))
    values[0, 256:384, 0:128] *= 0.1
    values[0, 0:128, 384:448] += 500
    found = {window.name: window.box.corner for window in chosen(values)}
    assert found[FLATTEST] == (256, 0)
    assert found[EDGES][0] < 128
    assert 256 < found[EDGES][1] <= 384
    assert len(found) == 4


def test_the_black_around_a_page_is_not_its_flattest_part():
    values = np.random.default_rng(0).normal(120, 6, (1, 512, 512))
    values[0, :, 384:] = 3
    assert chosen(values, measurements=False, white=255)[0].box.x1 <= 384
    assert chosen(values, measurements=False)[0].box.x0 == 384
    values[:] = 255
    assert chosen(values, measurements=False, white=255)[0].name == FLATTEST


def test_a_small_image_is_one_window():
    (window,) = chosen(np.zeros((1, 40, 50)))
    assert (window.name, window.box.shape) == (WHOLE, (40, 50))


def test_windows_with_few_missing_pixels_come_first():
    values = np.zeros((1, 512, 512))
    values[0, :, 256:] = np.random.default_rng(0).normal(0, 9, (512, 256))
    values[0, ::2, :256] = np.nan
    assert all(window.box.x0 >= 128 for window in chosen(values))


@pytest.mark.parametrize("place", [(0, 0), (499, 699), (250, 300)])
def test_a_chosen_place_is_in_its_window(place):
    window = window_at(place, (500, 700))
    check_inside([window], (500, 700))
    rows, columns = window.box.slices
    # the last pixels of an image that ends between multiples are left out
    assert rows.start <= place[0] < rows.stop + STEP
    assert columns.start <= place[1] < columns.stop + STEP


@given(st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_windows_of_any_size_have_scores(height, width, measurements):
    scores = window_scores(np.ones((1, height, width)), measurements=measurements)
    assert np.isfinite(list(scores.values())).all()
