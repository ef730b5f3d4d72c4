"""Viewers are told a window in which the image can be seen, and the colours of its planes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from glassplate.pipeline.store.display import _window, omero_attributes
from glassplate.pipeline.store.layout import Layout
from glassplate.pipeline.store.ome_zarr import create, open_array

FLOATS = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.floats(allow_nan=True, allow_infinity=True, width=32),
)


@given(st.lists(FLOATS, min_size=1, max_size=3))
def test_a_window_is_finite_ordered_and_within_its_limits(planes):
    found = _window(planes, None)
    assert all(np.isfinite(list(found.values())))
    assert found["min"] <= found["start"] < found["end"] <= found["max"]


@given(
    arrays.arrays(np.uint16, (5, 6), elements=st.integers(0, 65535)),
    st.sampled_from([255.0, 4095.0, 65535.0]),
)
def test_a_window_of_integers_lies_within_black_and_white_or_the_data(plane, white):
    found = _window([plane], white)
    assert found["min"] == 0
    assert found["max"] == max(white, plane.max())
    assert found["min"] <= found["start"] < found["end"] <= found["max"] + 1


def test_hot_pixels_missing_ones_and_a_border_do_not_decide_the_window():
    sky = np.random.default_rng(0).normal(100, 5, (200, 200)).astype("f4")
    sky[:20, :20] = np.nan
    sky[50, ::4] = 1e30
    found = _window([sky], None)
    assert 80 < found["start"] < 95
    assert 105 < found["end"] < 120
    assert found["max"] == pytest.approx(1e30)


def test_a_picture_is_shown_as_it_is_unless_it_would_look_black():
    picture = np.arange(256, dtype="u1").reshape(16, 16)
    assert _window([picture], 255.0) == {"min": 0, "max": 255, "start": 0, "end": 255}
    twelve_bits = np.linspace(100, 4000, 1000).astype("u2").reshape(20, 50)
    found = _window([twelve_bits], 65535.0)
    assert found["max"] == 65535
    assert 100 <= found["start"] < found["end"] <= 4000


def stored(tmp_path, shape, ndim, dtype="uint8", *, joint=True, alpha=False, values=None):
    layout = Layout(shape, ndim, joint, 1, dtype, 16, 32, alpha=alpha)
    store = tmp_path / "a.zarr"
    create(store, layout, {"glassplate": {}})
    if values is not None:
        open_array(store, "0")[...] = values
    return store, layout


@pytest.mark.parametrize(
    ("shape", "joint", "alpha", "attributes", "names", "colours", "active", "model"),
    [
        ((1, 9, 8), True, False, {}, ["intensity"], ["FFFFFF"], [True], "greyscale"),
        (
            (3, 9, 8),
            True,
            False,
            {"tiff": {"photometric": 2}},
            ["red", "green", "blue"],
            ["FF0000", "00FF00", "0000FF"],
            [True] * 3,
            "color",
        ),
        (
            (4, 9, 8),
            True,
            True,
            {"raster": {"photometric": 2}},
            ["red", "green", "blue", "alpha"],
            ["FF0000", "00FF00", "0000FF", "FFFFFF"],
            [True, True, True, False],
            "color",
        ),
        (
            (4, 9, 8),
            True,
            False,
            {"tiff": {"photometric": 5}},
            ["cyan", "magenta", "yellow", "black"],
            ["FFFFFF"] * 4,
            [True, False, False, False],
            "greyscale",
        ),
        (
            (3, 9, 8),
            False,
            False,
            {"fits": {}},
            ["plane 0", "plane 1", "plane 2"],
            ["FFFFFF"] * 3,
            [True, False, False],
            "greyscale",
        ),
    ],
)
def test_the_channels_have_the_colours_of_the_planes(
    tmp_path, shape, joint, alpha, attributes, names, colours, active, model
):
    ndim = 2 if shape[0] == 1 else 3
    store, layout = stored(tmp_path, shape, ndim, joint=joint, alpha=alpha)
    omero = omero_attributes(store, layout, attributes, 255.0)
    assert [channel["label"] for channel in omero["channels"]] == names
    assert [channel["color"] for channel in omero["channels"]] == colours
    assert [channel["active"] for channel in omero["channels"]] == active
    assert omero["rdefs"] == {"model": model}
    assert not any(channel["inverted"] for channel in omero["channels"])


def test_white_as_zero_is_shown_inverted(tmp_path):
    store, layout = stored(tmp_path, (1, 9, 8), 2)
    omero = omero_attributes(store, layout, {"tiff": {"photometric": 0}}, 255.0)
    assert [channel["inverted"] for channel in omero["channels"]] == [True]


def test_alpha_does_not_decide_the_window_of_the_colours(tmp_path):
    values = np.full((2, 20, 20), 0.5, "f4")
    values[0, :, ::2], values[1] = 0.25, 1.0
    store, layout = stored(tmp_path, (2, 20, 20), 3, "float32", alpha=True, values=values)
    grey, alpha = omero_attributes(store, layout, {"tiff": {"photometric": 1}}, None)["channels"]
    assert grey["window"] == {"min": 0.25, "max": 0.5, "start": 0.25, "end": 0.5}
    assert alpha["window"] == {"min": 0.0, "max": 1.0, "start": 0.0, "end": 1.0}


def test_a_large_image_is_judged_by_a_coarser_level(tmp_path, monkeypatch):
    monkeypatch.setattr("glassplate.pipeline.store.display.MOST_PIXELS", 400)
    store, layout = stored(tmp_path, (1, 40, 40), 2, "float32")
    open_array(store, "1")[...] = np.arange(400, dtype="f4").reshape(20, 20)
    window = omero_attributes(store, layout, {}, None)["channels"][0]["window"]
    assert (window["min"], window["max"]) == (0, 399)
