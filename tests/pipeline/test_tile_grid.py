"""Cores partition the image, and windows contain their cores and halos."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassplate.pipeline.tile_grid import Axis, Box, TileGrid

sizes = st.integers(1, 700)
cores = st.integers(1, 300)
halos = st.integers(0, 80)


@given(sizes, cores, halos)
def test_cores_partition_the_axis(size, core, halo):
    axis = Axis(size, core, halo)
    bounds = [axis.core_bounds(k) for k in range(axis.count)]
    assert bounds[0][0] == 0
    assert bounds[-1][1] == size
    assert all(a[1] == b[0] for a, b in itertools.pairwise(bounds))
    lengths = {b - a for a, b in bounds}
    assert max(lengths) <= core
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) >= 1


@given(sizes, cores, halos)
def test_windows_hold_core_and_halo_and_share_one_length(size, core, halo):
    axis = Axis(size, core, halo)
    for k in range(axis.count):
        (a, b), (start, stop) = axis.core_bounds(k), axis.window_bounds(k)
        assert stop - start == axis.window_length
        assert 0 <= start <= max(0, a - halo)
        assert min(size, b + halo) <= stop <= size


@given(sizes, cores, halos, st.data())
def test_touching_lists_every_window_that_touches(size, core, halo, data):
    axis = Axis(size, core, halo)
    start = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(start + 1, size))
    truth = {
        k
        for k in range(axis.count)
        if axis.window_bounds(k)[0] < stop and axis.window_bounds(k)[1] > start
    }
    assert truth == set(axis.touching(start, stop))
    a, b = axis.core_bounds(axis.core_at(start))
    assert a <= start < b


@given(
    st.tuples(st.integers(1, 5), st.integers(1, 120), st.integers(1, 120)),
    st.booleans(),
    st.integers(1, 60),
    st.integers(0, 20),
)
def test_tiles_of_a_grid_own_every_pixel_once(shape, joint, core, halo):
    grid = TileGrid(shape, joint, core, halo)
    owners = np.zeros(shape, int)
    for index in range(len(grid)):
        tile = grid.tile(index)
        assert tile.index == index
        assert grid.index(0 if joint else tile.channels[0], tile.row, tile.col) == index
        owners[(slice(*tile.channels), *tile.core.slices)] += 1
        assert (tile.channels[1] - tile.channels[0], *tile.window.shape) == grid.window_shape
    assert np.all(owners == 1)


def test_an_image_smaller_than_a_tile_is_one_tile():
    grid = TileGrid((1, 7, 300), True, 256, 32)
    assert grid.dimensions == (1, 1, 2)
    assert grid.window_shape == (1, 7, 150 + 64)


@pytest.mark.parametrize("bounds", [(3, 3, 0, 1), (-1, 2, 0, 1), (0, 1, 5, 4)])
def test_a_box_holds_pixels(bounds):
    with pytest.raises(ValueError, match="empty or negative"):
        Box(*bounds)


def test_boxes_intersect_grow_and_scale():
    box = Box(2, 5, 1, 9)
    assert box.intersection(Box(4, 8, 0, 3)) == Box(4, 5, 1, 3)
    assert box.intersection(Box(5, 8, 0, 3)) is None
    assert box.grown(3, (6, 10)) == Box(0, 6, 0, 10)
    assert box.scaled(2) == Box(4, 10, 2, 18)
    assert Box(4, 5, 1, 3).relative_to(box) == Box(2, 3, 0, 2)
    assert box.shape == (3, 8)


def test_a_grid_refuses_unknown_tiles():
    with pytest.raises(IndexError, match="tile 1 of a grid of 1"):
        TileGrid((1, 5, 5), True, 16, 2).tile(1)


@pytest.mark.parametrize("bad", [(0, 1, 0), (5, 0, 0), (5, 1, -1)])
def test_an_axis_refuses_impossible_sizes(bad):
    with pytest.raises(ValueError, match="needs size and core"):
        Axis(*bad)
