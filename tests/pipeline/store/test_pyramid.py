"""Pixels of a coarser level are means of valid pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassplate.pipeline.store.layout import Layout
from glassplate.pipeline.store.ome_zarr import create, open_array
from glassplate.pipeline.store.pyramid import halve, write_level_shard


def test_each_pixel_is_the_mean_of_four():
    pixels = np.arange(16.0, dtype="f4").reshape(1, 4, 4)
    np.testing.assert_array_equal(halve(pixels), [[[2.5, 4.5], [10.5, 12.5]]])


def test_nan_is_left_out():
    pixels = np.array([[[1, np.nan], [3, np.nan]]], "f4")
    np.testing.assert_array_equal(halve(pixels), [[[2.0]]])
    assert np.isnan(halve(np.full((1, 2, 2), np.nan, "f4")))


def test_the_last_squares_of_odd_sizes_are_smaller():
    np.testing.assert_array_equal(halve(np.array([[[1, 2, 9]]], "f4")), [[[1.5, 9.0]]])


@pytest.mark.parametrize(
    ("four", "mean"), [([0, 0, 0, 1], 0), ([0, 0, 1, 1], 0), ([1, 1, 2, 2], 2)]
)
def test_integers_are_rounded_to_the_nearest_even(four, mean):
    assert halve(np.array(four, "u1").reshape(1, 2, 2))[0, 0, 0] == mean


@pytest.mark.slow
@settings(max_examples=25)
@given(st.integers(1, 3), st.integers(1, 90), st.integers(1, 90))
def test_a_level_made_by_shards_equals_the_level_made_at_once(c, h, w):
    import tempfile
    from pathlib import Path

    layout = Layout((c, h, w), 3, True, 1, "float32", 16, 32)
    image = np.random.default_rng(h * w).normal(size=(c, h, w)).astype("f4")
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "a.zarr"
        create(store, layout, {"glassplate": {}})
        open_array(store, "0")[...] = image
        expected = image
        for level in range(1, layout.levels):
            for shard in layout.shards(level):
                write_level_shard(store, layout, level, shard)
            expected = halve(expected)
            np.testing.assert_array_equal(open_array(store, str(level))[...], expected)
