"""All pages of a TIFF as planes of a cube: read and fitted one by one, and exported as pages."""

import numpy as np
import pytest
import tifffile
from runs import COPY, FIT, UntidyPool, digest, level0, request

from glassplate.pipeline.errors import SourceError, StoreError, UsageError
from glassplate.pipeline.export.export import export
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.sources.tiff import cube as module
from glassplate.pipeline.tile_grid import Box


def frames(path, count=3, dtype="u1", shape=(40, 50), **more):
    """Write a TIFF of several pages; return their pixels, ``(page, y, x)``."""
    rng = np.random.default_rng(count)
    data = rng.integers(0, 200, (count, *shape)).astype(dtype)
    with tifffile.TiffWriter(path) as tiff:
        for page in data:
            tiff.write(page, photometric="minisblack", metadata=None, **more)
    return data


def spec(path, page="all"):
    return SourceSpec(path, page=page)


@pytest.mark.parametrize("count", [1, 3, 7])
@pytest.mark.parametrize("layout", [{}, {"compression": "zlib", "rowsperstrip": 9}])
def test_pages_are_planes(tmp_path, count, layout):
    data = frames(tmp_path / "a.tif", count, **layout)
    source = open_source(spec(tmp_path / "a.tif"))
    assert source.shape == data.shape
    assert source.ndim == 3
    assert not source.joint
    np.testing.assert_array_equal(source.read(Box(0, 40, 0, 50)).values, data)
    for page in (*range(count), 0):
        part = source.read(Box(3, 20, 10, 50), (page, page + 1))
        np.testing.assert_array_equal(part.values, data[page : page + 1, 3:20, 10:])
    assert len(source._source._opened) <= module.MOST_OPEN
    source.close()


def test_a_single_page_can_be_chosen_by_its_number(tmp_path):
    data = frames(tmp_path / "a.tif")
    source = open_source(spec(tmp_path / "a.tif", 1))
    np.testing.assert_array_equal(source.read(Box(0, 40, 0, 50)).values[0], data[1])
    source.close()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("count", [2, 6])
def test_task_identity_exports_the_same_pages(tmp_path, dtype, count):
    data = frames(tmp_path / "a.tif", count, dtype, resolution=(300, 300))
    restore(request(spec(tmp_path / "a.tif"), tmp_path / "a.zarr", COPY), UntidyPool(2))
    np.testing.assert_array_equal(level0(tmp_path / "a.zarr"), data)
    export(tmp_path / "a.zarr", tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
        assert len(tiff.pages) == count
        for page, expected in zip(tiff.pages, data, strict=True):
            np.testing.assert_array_equal(page.asarray(), expected)
            assert page.tags.valueof("XResolution") == (300, 1)
    again = open_source(spec(tmp_path / "b.tif"))
    assert again.shape == data.shape
    again.close()


@pytest.mark.slow
def test_each_is_fitted_by_itself_from_one_donor(tmp_path):
    frames(tmp_path / "a.tif", 4)
    plan = make_plan(spec(tmp_path / "a.tif"), parse_recipe(FIT, "t"), recipe_name="t")
    assert plan.warm
    assert plan.grid.window_shape[0] == 1
    restore(request(spec(tmp_path / "a.tif"), tmp_path / "a.zarr", FIT), InlinePool())
    with pytest.raises(KeyboardInterrupt):
        restore(
            request(spec(tmp_path / "a.tif"), tmp_path / "b.zarr", FIT),
            UntidyPool(3, interrupt_after=4),
        )
    restore(request(spec(tmp_path / "a.tif"), tmp_path / "b.zarr", FIT), UntidyPool(4))
    assert digest(tmp_path / "a.zarr") == digest(tmp_path / "b.zarr")
    with pytest.raises(StoreError, match="made from page all, not 0"):
        restore(request(spec(tmp_path / "a.tif", 0), tmp_path / "a.zarr", FIT), InlinePool())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("shape", r"page 1 is 41 x 50 uint8, page 0 40 x 50 uint8; restore it by its number"),
        ("type", r"page 1 is 40 x 50 uint16, page 0 40 x 50 uint8"),
        ("colours", "page 1 is 3 x 40 x 50 uint8, page 0 40 x 50 uint8"),
        ("volume", "page 1: a volume of 2 slices"),
    ],
)
def test_pages_of_different_kinds_are_refused(tmp_path, fault, message):
    other = {
        "shape": np.zeros((41, 50), "u1"),
        "type": np.zeros((40, 50), "u2"),
        "colours": np.zeros((40, 50, 3), "u1"),
        "volume": np.zeros((2, 40, 50), "u1"),
    }[fault]
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(np.zeros((40, 50), "u1"), photometric="minisblack", metadata=None)
        colours = "rgb" if fault == "colours" else "minisblack"
        volume = {"volumetric": True, "tile": (1, 16, 16)} if fault == "volume" else {}
        tiff.write(other, photometric=colours, metadata=None, **volume)
    with pytest.raises(SourceError, match=message) as caught:
        open_source(spec(tmp_path / "a.tif"))
    assert "\n" not in str(caught.value)


def test_fits_has_no_pages(tmp_path):
    from astropy.io import fits

    fits.writeto(tmp_path / "a.fits", np.zeros((9, 9), "f4"))
    with pytest.raises(UsageError, match="--page is for TIFF, this is FITS"):
        open_source(spec(tmp_path / "a.fits"))
    frames(tmp_path / "a.tif")
    with pytest.raises(UsageError, match="--hdu is for FITS"):
        open_source(SourceSpec(tmp_path / "a.tif", page="all", hdu=1))
