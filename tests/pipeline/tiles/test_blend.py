"""Weights sum to 1; blending windows cut from an image gives the image back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassplate.pipeline.tile_grid import Axis, Box, TileGrid
from glassplate.pipeline.tiles.blend import (
    Piece,
    axis_weight,
    blend,
    ramp_half_width,
)

axes = st.builds(Axis, st.integers(1, 160), st.integers(1, 60), st.integers(0, 24))


@pytest.mark.slow
@given(axes, st.sampled_from([1, 2, 3, 4, 7]))
def test_weights_sum_to_one(axis, scale):
    total = np.zeros(axis.size * scale)
    for k in range(axis.count):
        start, stop = axis.window_bounds(k)
        weight = axis_weight(axis, k, scale)
        assert weight.min() >= 0
        total[start * scale : stop * scale] += weight
    np.testing.assert_allclose(total, 1, rtol=0, atol=1e-12)


@pytest.mark.slow
@given(axes, st.sampled_from([1, 2, 3]))
def test_outermost_pixels_inside_the_image_have_weight_zero(axis, scale):
    if axis.halo == 0:
        return
    for k in range(axis.count):
        start, stop = axis.window_bounds(k)
        weight = axis_weight(axis, k, scale)
        if start > 0:
            assert weight[0] == 0
        if stop < axis.size:
            assert weight[-1] == 0


def test_the_transition_is_a_raised_cosine():
    axis = Axis(512, 256, 32)
    half = ramp_half_width(axis)
    assert half == 24
    weight, (start, _) = axis_weight(axis, 0), axis.window_bounds(0)
    x = np.arange(256 - 24, 256 + 24)
    expected = 0.5 * (1 - np.sin(np.pi * (x + 0.5 - 256) / 48))
    np.testing.assert_allclose(weight[x - start], expected, atol=1e-12)
    assert np.all(weight[: 256 - 24 - start] == 1)


def pieces_of(image, grid, scale, group=0, leave_out=()):
    for tile in grid.touching(group, Box(0, grid.shape[1], 0, grid.shape[2])):
        if tile.index in leave_out:
            continue
        box = tile.window.scaled(scale)
        yield Piece(
            box,
            image[(slice(*tile.channels), *box.slices)],
            axis_weight(grid.y, tile.row, scale),
            axis_weight(grid.x, tile.col, scale),
        )


@pytest.mark.slow
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 90), st.integers(1, 90)),
    st.integers(1, 40),
    st.integers(0, 16),
    st.sampled_from([1, 2]),
    st.randoms(use_true_random=False),
)
def test_windows_of_an_image_blend_back_to_it_exactly(shape, core, halo, scale, random):
    grid = TileGrid(shape, True, core, halo)
    rng = np.random.default_rng(random.randrange(2**32))
    image = (rng.normal(size=(shape[0], shape[1] * scale, shape[2] * scale)) * 1e4).astype("f4")
    box = Box(0, shape[1] * scale, 0, shape[2] * scale)
    blended, footprint = blend(box, shape[0], pieces_of(image, grid, scale))
    np.testing.assert_array_equal(blended.astype("f4"), image)
    assert np.all(footprint == 1)


def test_a_region_blends_like_the_whole_image():
    grid = TileGrid((1, 130, 170), True, 40, 12)
    rng = np.random.default_rng(0)
    noisy = {t: rng.normal(size=grid.window_shape) for t in range(len(grid))}

    def pieces(box):
        for tile in grid.touching(0, box):
            yield Piece(
                tile.window,
                noisy[tile.index],
                axis_weight(grid.y, tile.row),
                axis_weight(grid.x, tile.col),
            )

    whole, _ = blend(Box(0, 130, 0, 170), 1, pieces(Box(0, 130, 0, 170)))
    for box in (Box(0, 64, 0, 64), Box(33, 97, 80, 170), Box(129, 130, 0, 1)):
        part, _ = blend(box, 1, pieces(box))
        np.testing.assert_array_equal(part, whole[(slice(None), *box.slices)])


def test_a_missing_tile_leaves_a_hole_and_a_lower_footprint():
    grid = TileGrid((1, 64, 64), True, 32, 8)
    image = np.full((1, 64, 64), 7.0)
    box = Box(0, 64, 0, 64)
    blended, footprint = blend(box, 1, pieces_of(image, grid, 1, leave_out={0}))
    assert np.isnan(blended[0, 5, 5])
    assert footprint[5, 5] == 0
    assert footprint[63, 63] == 1
    partial = (footprint > 0) & (footprint < 1)
    assert partial.any()
    np.testing.assert_allclose(blended[0][footprint > 0], 7.0, rtol=1e-14)
