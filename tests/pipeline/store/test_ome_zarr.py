"""The store is OME-Zarr 0.5, its shards partition the image, its names are what Zarr uses."""

import numpy as np
import ome_zarr_models.v05
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from glassplate.pipeline.errors import StoreError, UsageError
from glassplate.pipeline.grid import Box
from glassplate.pipeline.store.ome_zarr import (
    Layout,
    arrays_of,
    create,
    open_array,
    read_attributes,
    residual_box,
    shard_file,
    tile_rows,
    update_attributes,
)

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


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("scale", [1, 2])
def test_the_store_is_ome_zarr(tmp_path, ndim, scale):
    layout = Layout((1 if ndim == 2 else 3, 70, 130), ndim, True, scale, "uint16", 32, 64)
    create(tmp_path / "a.zarr", layout, {"glassplate": {"status": "running"}})
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    image = ome_zarr_models.v05.Image.from_zarr(group)
    assert len(image.attributes.ome.multiscales[0].datasets) == layout.levels
    assert set(group.array_keys()) == set(arrays_of(layout))
    assert group["0"].shape == layout.stored_shape
    assert group["0"].shards is not None
    assert group["residual"].shape == layout.source_shape[-ndim:]


@pytest.mark.parametrize(
    ("dtype", "residual"), [("uint8", "int16"), ("uint16", "int32"), ("float32", "float32")]
)
def test_a_residual_can_hold_every_difference(dtype, residual):
    assert Layout((1, 9, 9), 2, True, 1, dtype, 16, 16).residual_dtype == residual
    assert Layout((1, 9, 9), 2, True, 2, dtype, 16, 16).residual_dtype == "float32"
    assert Layout((1, 9, 9), 2, True, 1, dtype, 16, 16, mixes=True).residual_dtype == "float32"


def test_every_shard_has_the_file_that_its_name_says(tmp_path):
    layout, store = Layout((2, 40, 70), 3, False, 2, "float32", 16, 32), tmp_path / "a.zarr"
    create(store, layout, {"glassplate": {}})
    for shard in layout.shards():
        for name, box in (("0", shard.box), ("residual", residual_box(shard.box, 2))):
            path = shard_file(store, name, layout, shard)
            index = layout.index(shard.channels, box)
            assert not path.exists()
            open_array(store, name)[index] = np.ones((1, *box.shape), "f4")
            assert path.is_file()
            open_array(store, name)[index] = np.full((1, *box.shape), np.nan, "f4")
            assert not path.exists(), "a shard of nothing but the fill value has no file"
            assert np.isnan(open_array(store, name)[index]).all()


def test_what_is_not_ours_is_named(tmp_path):
    with pytest.raises(StoreError, match="no Zarr group there"):
        read_attributes(tmp_path)
    zarr.create_group(tmp_path / "b.zarr")
    with pytest.raises(StoreError, match="another program"):
        read_attributes(tmp_path / "b.zarr")


def test_attributes_change_and_the_rest_stays(tmp_path):
    layout, store = Layout((1, 20, 20), 2, True, 1, "float32", 16, 32), tmp_path / "a.zarr"
    create(store, layout, {"glassplate": {"status": "running", "run_id": "x"}, "fits": {"hdu": 0}})
    update_attributes(store, status="complete")
    attributes = read_attributes(store)
    assert attributes["glassplate"] == {"status": "complete", "run_id": "x"}
    assert attributes["fits"] == {"hdu": 0}
    assert "multiscales" in attributes["ome"]


def test_a_store_appears_whole_or_not_at_all(tmp_path):
    def fail(making):
        raise RuntimeError("killed here")

    layout = Layout((1, 20, 20), 2, True, 1, "float32", 16, 32)
    with pytest.raises(RuntimeError):
        create(tmp_path / "a.zarr", layout, {"glassplate": {}}, fail)
    assert not (tmp_path / "a.zarr").exists()
    create(tmp_path / "a.zarr", layout, {"glassplate": {}})
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def test_a_chunk_that_does_not_divide_is_refused():
    with pytest.raises(UsageError, match=r"output.chunk 18 is no multiple of the scale 4; take 20"):
        Layout((1, 20, 20), 2, True, 4, "float32", 18, 36)


@given(st.integers(0, 50), st.integers(1, 60), st.integers(1, 40))
def test_strips_partition_a_region(start, height, strip):
    rows = [
        r for s in tile_rows(Box(start, start + height, 3, 9), strip) for r in range(s.y0, s.y1)
    ]
    assert rows == list(range(start, start + height))
