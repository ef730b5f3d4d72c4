"""Maps of very many tiles become small without hiding the tile that stands out."""

import numpy as np
import pytest

from glassplate.pipeline.pages import tile_values as module
from glassplate.pipeline.pages.tile_values import TileValues, _few_enough


def one_map(values, **more):
    return TileValues("chi2", "chi2", "meaning", np.asarray(values, "f4"), **more)


def test_the_largest_value_stays(monkeypatch):
    monkeypatch.setattr(module, "MOST_TILES", 50)
    values = np.random.default_rng(0).random((3, 17, 23)).astype("f4")
    values[0, 5, 7], values[0, 16, 22] = 9, np.nan
    small = _few_enough(one_map(values))
    assert small.values.size <= 50
    assert np.nanmax(small.values) == 9
    assert "largest value of each" in small.meaning
    assert "first plane" in small.meaning


def test_few_tiles_stay_as_they_are():
    values = np.arange(6.0).reshape(1, 2, 3)
    assert _few_enough(one_map(values)).values.shape == (1, 2, 3)


@pytest.mark.parametrize(
    ("values", "codes", "words"),
    [
        ([[[1, 2, 6]]], (), "1 to 6, median 2"),
        ([[[4, 4, np.nan]]], (), "4 in every tile"),
        ([[[np.nan]]], (), "no tile has a value"),
        ([[[1, 1, 0]]], ("cap", "held-out"), "held-out: 2 tiles, cap: 1 tile"),
    ],
)
def test_a_map_says_what_it_shows(values, codes, words):
    assert one_map(values, codes=codes).words == words
