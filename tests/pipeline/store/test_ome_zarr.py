"""The store is OME-Zarr 0.5, and its files have the names that Zarr gives them."""

import shutil

import numpy as np
import ome_zarr_models.v05
import pytest
import zarr
from ome_zarr_models.common.omero import Omero

from glassplate.pipeline.errors import StoreError
from glassplate.pipeline.pixel_size import PixelSize
from glassplate.pipeline.store.display import omero_attributes
from glassplate.pipeline.store.layout import Layout, arrays_of, residual_box
from glassplate.pipeline.store.ome_zarr import (
    create,
    ome_attributes,
    open_array,
    read_attributes,
    set_display,
    shard_file,
    update_attributes,
)


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


def transformations(layout, pixel=None):
    (image,) = ome_attributes(layout, "a", pixel)["multiscales"]
    return image["axes"], [
        [one[one["type"]] for one in dataset["coordinateTransformations"]]
        for dataset in image["datasets"]
    ]


def test_coordinates_are_pixels_without_a_unit_where_the_size_is_not_known():
    axes, levels = transformations(Layout((1, 40, 40), 2, True, 1, "uint8", 16, 32))
    assert not any("unit" in axis for axis in axes)
    assert levels == [[[1, 1], [0, 0]], [[2, 2], [0.5, 0.5]], [[4, 4], [1.5, 1.5]]]


def test_coordinates_have_the_size_and_the_unit_of_the_pixels():
    layout = Layout((3, 20, 20), 3, True, 1, "uint8", 16, 32)
    axes, levels = transformations(layout, PixelSize(0.5, 0.25, "arcsecond"))
    assert [axis.get("unit") for axis in axes] == [None, "arcsecond", "arcsecond"]
    assert levels == [[[1, 0.5, 0.25], [0, 0, 0]], [[1, 1, 0.5], [0, 0.25, 0.125]]]


def test_how_to_show_the_image_is_added_to_the_metadata_of_its_levels(tmp_path):
    layout, store = Layout((1, 20, 20), 2, True, 1, "float32", 16, 32), tmp_path / "a.zarr"
    create(store, layout, {"glassplate": {"run_id": "x"}})
    set_display(store, omero_attributes(store, layout, {}, None))
    found = ome_zarr_models.v05.Image.from_zarr(zarr.open_group(store, mode="r")).attributes.ome
    assert len(Omero.model_validate(found.omero).channels) == 1
    assert len(found.multiscales[0].datasets) == layout.levels
    assert read_attributes(store)["glassplate"] == {"run_id": "x"}


@pytest.mark.slow
def test_zarr_writes_each_shard_to_its_file(tmp_path):
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


def test_an_array_is_opened_once_and_anew_where_another_is_in_its_place(tmp_path):
    store = tmp_path / "a.zarr"
    for side in (20, 30):
        layout = Layout((1, side, side), 2, True, 1, "float32", 16, 32)
        create(store, layout, {"glassplate": {}})
        assert open_array(store, "0").shape == (side, side)
        assert open_array(store, "0") is open_array(store, "0")
        shutil.rmtree(store)
    with pytest.raises(FileNotFoundError):
        open_array(store, "0")


def test_a_path_without_a_result_is_refused(tmp_path):
    with pytest.raises(StoreError, match="no Zarr group there"):
        read_attributes(tmp_path)
    zarr.create_group(tmp_path / "b.zarr")
    with pytest.raises(StoreError, match="another program"):
        read_attributes(tmp_path / "b.zarr")


def test_other_attributes_stay_when_some_change(tmp_path):
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
        create(tmp_path / "a.zarr", layout, {"glassplate": {}}, fill=fail)
    assert not (tmp_path / "a.zarr").exists()
    create(tmp_path / "a.zarr", layout, {"glassplate": {}})
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]
