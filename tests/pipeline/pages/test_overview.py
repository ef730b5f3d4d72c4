"""The whole at a small size is the mean of the pixels."""

import numpy as np
from assessed import made_result, starry_sky
from hypothesis import given
from hypothesis import strategies as st

from glassplate.pipeline.pages import overview as overview_module
from glassplate.pipeline.pages.overview import halved, read_overview
from glassplate.pipeline.pages.shown_result import ShownResult


@given(st.tuples(st.integers(1, 9), st.integers(1, 9)), st.integers(0, 99))
def test_a_halved_pixel_is_the_mean_of_its_known_pixels(shape, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(2, *shape))
    values[rng.random(values.shape) < 0.3] = np.nan
    half = halved(values)
    assert half.shape == (2, -(-shape[0] // 2), -(-shape[1] // 2))
    for c, y, x in np.ndindex(half.shape):
        square = values[c, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
        known = square[np.isfinite(square)]
        expected = known.mean() if known.size else np.nan
        np.testing.assert_allclose(half[c, y, x], expected)


def test_before_is_the_mean_of_the_input(tmp_path, monkeypatch):
    monkeypatch.setattr(overview_module, "SCREEN", 60)
    monkeypatch.setattr(overview_module, "BAND", 50)
    given_sky = starry_sky()
    given_sky[80:90, 130:140] = 100  # the estimate has no hole
    store = made_result(tmp_path, given_sky, np.full(given_sky.shape, 100, "f4"))
    seen = read_overview(ShownResult(store))
    assert seen.factor == 4
    np.testing.assert_allclose(seen.removed, seen.before - seen.after)
    # level 0 was changed after its levels were made of the input
    blocks = given_sky[:180, :220].reshape(45, 4, 55, 4).mean((1, 3))
    np.testing.assert_allclose(seen.removed[0], blocks - 100, rtol=1e-4, atol=1e-3)
