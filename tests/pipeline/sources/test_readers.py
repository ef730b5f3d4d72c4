"""Readers of other packages: found by content, guarded, and used by the whole pipeline."""

import gzip
import shutil
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import zarr
from astropy.io import fits
from runs import COPY, request
from toy_format import READER, write_toy

from glassplate.flows.jobs.images import default_recipe
from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.sources import readers
from glassplate.pipeline.sources.array_source import ArraySource
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.file_format import holds_measurements, sniff_format
from glassplate.pipeline.sources.open_image import open_image
from glassplate.pipeline.sources.own_readers import OWN_READERS
from glassplate.pipeline.sources.readers import Reader, find_reader
from glassplate.pipeline.sources.source import ImageInfo, SourceSpec
from glassplate.pipeline.tile_grid import Box

PIXELS = np.random.default_rng(0).normal(100, 5, (50, 70)).astype("f4")
PIXELS[4:6, 7:9] = np.nan


@pytest.fixture
def installed(monkeypatch):
    """A function that installs entry points, given by name and value, for one test."""

    def install(**points):
        found = [EntryPoint(name, value, readers.GROUP) for name, value in points.items()]
        monkeypatch.setattr(readers, "entry_points", lambda group: found)
        readers._other_readers.cache_clear()

    yield install
    readers._other_readers.cache_clear()


@pytest.fixture
def toy(tmp_path, installed):
    """A file of the toy format, whose reader is installed."""
    installed(toy="toy_format:READER")
    write_toy(tmp_path / "a.fits", PIXELS)
    return tmp_path / "a.fits"


def test_all_readers_keep_to_the_protocol():
    assert all(isinstance(reader, Reader) for reader in (*OWN_READERS, READER))


def test_the_format_is_found_by_content(toy, tmp_path):
    assert find_reader(toy) is READER
    assert sniff_format(toy) == "toy"
    assert holds_measurements(toy)
    assert default_recipe(toy) == "astro-denoise"
    with toy.open("rb") as plain, gzip.open(tmp_path / "b.gz", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    assert find_reader(tmp_path / "b.gz") is READER


def test_it_is_described(toy):
    found = describe(toy)
    assert found["format"] == "toy"
    assert found["images"][0]["shape"] == (50, 70)
    assert found["warnings"] == ["the toy format is for tests"]


def test_it_is_restored_and_exported(toy, tmp_path):
    target = tmp_path / "out.fits"
    restore(request(toy, tmp_path / "a.zarr", COPY, export=target), InlinePool())
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    np.testing.assert_array_equal(group["0"][...], PIXELS)
    assert group.attrs["toy"] == {"made": "here"}
    assert group.attrs["glassplate"]["unit"] == "adu"
    np.testing.assert_array_equal(fits.getdata(target), PIXELS)


def test_it_serves_as_a_mask(toy, tmp_path):
    write_toy(tmp_path / "mask.toy", (np.arange(50 * 70).reshape(50, 70) % 7 == 0).astype("f4"))
    spec = SourceSpec(toy, mask=tmp_path / "mask.toy")
    restore(request(spec, tmp_path / "a.zarr", COPY), InlinePool())
    valid = np.isfinite(zarr.open_group(tmp_path / "a.zarr", mode="r")["0"][...])
    np.testing.assert_array_equal(
        valid, np.isfinite(PIXELS) & (np.arange(3500).reshape(50, 70) % 7 > 0)
    )


def test_whatever_it_raises_names_the_file(toy):
    toy.write_bytes(b"TOY fifty seventy\n")
    for step in (describe, lambda path: open_image(SourceSpec(path))):
        with pytest.raises(
            SourceError, match=r"a\.fits: cannot be read: ValueError: invalid literal"
        ):
            step(toy)


def test_own_formats_come_first(installed, tmp_path):
    installed(greedy="test_readers:GREEDY")
    fits.writeto(tmp_path / "a.fits", PIXELS)
    assert sniff_format(tmp_path / "a.fits") == "fits"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("no_such_package:READER", "x (ModuleNotFoundError: No module named 'no_such_package')"),
        ("toy_format:write_toy", "x (toy_format:write_toy is no reader)"),
        (
            "toy_format:NOTHING",
            "x (AttributeError: module 'toy_format' has no attribute 'NOTHING')",
        ),
    ],
)
def test_a_reader_that_can_not_be_loaded_is_named_where_it_may_be_needed(
    installed, tmp_path, value, why
):
    installed(x=value, toy="toy_format:READER")
    (tmp_path / "a").write_bytes(b"something else")
    with pytest.raises(SourceError) as error:
        find_reader(tmp_path / "a")
    assert f"these readers cannot be loaded: {why}" in str(error.value)
    write_toy(tmp_path / "b", PIXELS)
    assert find_reader(tmp_path / "b") is READER


class TestArraySource:
    @staticmethod
    def source(array, **more):
        info = ImageInfo(0, "", array.shape, str(array.dtype), None, restorable=True, reason=None)
        arguments = {"like": "fits", "metadata": {}, **more}
        return ArraySource(SourceSpec("a"), info, array, **arguments)

    def test_planes_and_boxes(self):
        cube = np.arange(5 * 6 * 7, dtype=">i2").reshape(5, 6, 7)
        source = self.source(cube)
        assert (source.shape, source.ndim, source.joint) == ((5, 6, 7), 3, False)
        assert (source.output_dtype, source.working_dtype) == (np.float32, np.float32)
        pixels = source.read(Box(1, 3, 2, 6), (1, 3))
        np.testing.assert_array_equal(pixels.values, cube[1:3, 1:3, 2:6])
        assert pixels.valid.all()
        assert self.source(cube, like="tiff").output_dtype == np.int16

    def test_what_is_invalid(self):
        plane = np.array([[1.0, np.nan, 3.0, np.inf]])
        pixels = self.source(plane, invalid=np.array([[0, 0, 4, 0]])).read(Box(0, 1, 0, 4))
        np.testing.assert_array_equal(pixels.valid, [[[True, False, False, False]]])
        np.testing.assert_array_equal(pixels.values, [[[1, 0, 3, 0]]])

    @pytest.mark.parametrize(
        "array", [np.zeros(5), np.zeros((1, 1, 2, 2)), np.zeros((0, 5)), np.zeros((2, 2), complex)]
    )
    def test_no_image(self, array):
        with pytest.raises(SourceError, match="is no image"):
            self.source(array)
