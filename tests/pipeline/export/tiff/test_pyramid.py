"""Pyramidal TIFFs, as GDAL, libvips and IIPImage expect them, read by two libraries."""

import numpy as np
import pytest
import tifffile
from exported import make_store
from PIL import Image

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.export.export import export
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

RGB = {"tiff": {"photometric": 2, "bits_per_sample": 8}}


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 255, (3, 100, 150), dtype="u1")


def test_levels_follow_their_page_as_smaller_copies(tmp_path, picture):
    store = make_store(tmp_path, picture, RGB, levels=3)
    target = export(store, tmp_path / "out.tif", pyramid=True)
    with tifffile.TiffFile(target) as tiff:
        assert tiff.is_bigtiff
        assert [page.subfiletype for page in tiff.pages] == [0, 1, 1]
        assert [page.is_tiled for page in tiff.pages] == [True] * 3
        assert tiff.series[0].is_pyramidal or len(tiff.series) >= 1
        for level, page in enumerate(tiff.pages):
            expected = np.moveaxis(picture[:, :: 2**level, :: 2**level], 0, -1)
            np.testing.assert_array_equal(page.asarray(), expected)
            assert page.photometric.name == "RGB"
    with Image.open(target) as image:
        assert image.n_frames == 3
        for level in range(3):
            image.seek(level)
            expected = np.moveaxis(picture[:, :: 2**level, :: 2**level], 0, -1)
            np.testing.assert_array_equal(np.asarray(image), expected)


def test_it_is_read_again_as_one_image(tmp_path, picture):
    target = export(
        make_store(tmp_path, picture, RGB, levels=3), tmp_path / "out.tif", pyramid=True
    )
    for page in (None, "all"):
        source = open_source(SourceSpec(target, page=page))
        np.testing.assert_array_equal(source.read(Box(0, 100, 0, 150)).values, picture)
        source.close()


def test_pages_have_their_levels(tmp_path):
    data = np.random.default_rng(0).integers(0, 255, (2, 60, 80), dtype="u2")
    store = make_store(tmp_path, data, {"tiff": {"photometric": 1, "pages": 2}}, levels=2)
    target = export(store, tmp_path / "out.tif", pyramid=True)
    with tifffile.TiffFile(target) as tiff:
        assert len(tiff.pages) == 2
        for page, plane in zip(tiff.pages, data, strict=True):
            np.testing.assert_array_equal(page.asarray(), plane)
            (level,) = page.pages
            assert level.subfiletype == 1
            np.testing.assert_array_equal(level.asarray(), plane[::2, ::2])
    source = open_source(SourceSpec(target, page="all"))
    np.testing.assert_array_equal(source.read(Box(0, 60, 0, 80)).values, data)
    source.close()


def test_from_a_coarser_level(tmp_path, picture):
    store = make_store(tmp_path, picture, RGB, levels=3)
    with tifffile.TiffFile(export(store, tmp_path / "out.tif", 1, pyramid=True)) as tiff:
        assert [page.shape for page in tiff.pages] == [(50, 75, 3), (25, 38, 3)]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.fits", {}, "a.fits is no TIFF; name it .tif"),
        ("a.jp2", {}, "a.jp2 is no TIFF; name it .tif"),
        ("a.tif", {"strength": 0.5}, "not of strength 0.5; leave out one of both"),
    ],
)
def test_refusals(tmp_path, picture, name, options, message):
    store = make_store(tmp_path, picture, RGB, levels=2)
    with pytest.raises(UsageError, match=message):
        export(store, tmp_path / name, pyramid=True, **options)
