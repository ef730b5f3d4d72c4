"""Results are read as viewers read them, by packages of theirs that need no window, if they are installed."""

import itertools

import numpy as np
import pytest
from assessed import made_result
from exported import make_store

from glassplate.pipeline.export.export import export

RGB = {"tiff": {"photometric": 2, "bits_per_sample": 8}}


@pytest.fixture
def photograph(tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (3, 600, 700), dtype="u1")
    return make_store(tmp_path, picture, RGB, levels=3)


def test_ome_zarr_py_finds_the_levels_and_the_colours(tmp_path):
    """By it vizarr's and napari's plugins were modelled; tried with ome-zarr 0.18."""
    io = pytest.importorskip("ome_zarr.io", exc_type=ImportError)
    from ome_zarr.reader import Reader

    picture = np.random.default_rng(0).integers(0, 255, (3, 200, 240), dtype="u1")
    (node,) = Reader(io.parse_url(str(made_result(tmp_path, picture, picture))))()
    np.testing.assert_array_equal(node.data[0], picture)
    for before, after in itertools.pairwise(node.data):
        assert after.shape == (3, before.shape[1] // 2, before.shape[2] // 2)
    assert node.metadata["channel_names"] == ["red", "green", "blue"]


def test_gdal_takes_the_levels_of_a_pyramid_as_overviews(photograph, tmp_path):
    """So do QGIS, and image servers on GDAL; tried with rasterio 1.4."""
    rasterio = pytest.importorskip("rasterio")
    target = export(photograph, tmp_path / "map.tif", pyramid=True)
    with rasterio.open(target) as image:
        assert image.overviews(1) == [2, 4]
        assert image.block_shapes == [(256, 256)] * 3
        assert [one.name for one in image.colorinterp] == ["red", "green", "blue"]
