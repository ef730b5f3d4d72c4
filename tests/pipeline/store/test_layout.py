"""Shards partition every level of an image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.store.layout import Layout, residual_box, row_strips
from glassplate.pipeline.tile_grid import Box

layouts = st.builds(
    lambda c, h, w, joint, scale, chunk, shards: Layout(
        (c, h, w), 3, joint, scale, "float32", 16 * chunk * scale, 16 * chunk * scale * shards
    ),
    st.integers(1, 4),
    st.integers(1, 150),
    st.integers(1, 150),
    st.booleans(),
    st.sampled_from([1, 2, 3, 4]),
    st.integers(1, 3),
    st.integers(1, 4),
)


@given(layouts)
def test_shards_partition_every_level(layout):
    for level in range(layout.levels):
        count = np.zeros(layout.level_shape(level), int)
        for shard in layout.shards(level):
            count[(slice(*shard.channels), *shard.box.slices)] += 1
        assert np.all(count == 1)


@given(layouts)
def test_residual_shards_lie_under_image_shards(layout):
    count = np.zeros(layout.source_shape, int)
    for shard in layout.shards():
        count[(slice(*shard.channels), *residual_box(shard.box, layout.scale).slices)] += 1
    assert np.all(count == 1)


@given(layouts)
def test_the_coarsest_level_fits_a_chunk(layout):
    assert max(layout.level_shape(layout.levels - 1)[1:]) <= layout.chunk
    assert layout.levels == 1 or max(layout.level_shape(layout.levels - 2)[1:]) > layout.chunk


@pytest.mark.parametrize(
    ("dtype", "residual"), [("uint8", "int16"), ("uint16", "int32"), ("float32", "float32")]
)
def test_a_residual_can_hold_every_difference(dtype, residual):
    assert Layout((1, 9, 9), 2, True, 1, dtype, 16, 16).residual_dtype == residual
    assert Layout((1, 9, 9), 2, True, 2, dtype, 16, 16).residual_dtype == "float32"
    assert Layout((1, 9, 9), 2, True, 1, dtype, 16, 16, mixes=True).residual_dtype == "float32"


def test_a_chunk_that_does_not_divide_is_refused():
    with pytest.raises(UsageError, match=r"output.chunk 18 is no multiple of the scale 4; take 20"):
        Layout((1, 20, 20), 2, True, 4, "float32", 18, 36)


@given(st.integers(0, 50), st.integers(1, 60), st.integers(1, 40))
def test_strips_partition_a_region(start, height, strip):
    rows = [
        r for s in row_strips(Box(start, start + height, 3, 9), strip) for r in range(s.y0, s.y1)
    ]
    assert rows == list(range(start, start + height))
