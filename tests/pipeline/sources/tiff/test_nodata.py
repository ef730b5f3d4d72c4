"""The "no data" value of GDAL, in the type of the pixels and never wrapped into it."""

import numpy as np
import pytest
import tifffile
from runs import COPY, FIT, level0, request

from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.sources.tiff.nodata import is_nodata, parse_nodata
from glassplate.pipeline.tile_grid import Box

LOWEST = float(np.finfo("f4").min)

TEXTS = [
    ("-9999", "i2", -9999),
    ("-9999.0", "i2", -9999),
    ("-9999", "u1", None),
    ("256", "u1", None),
    ("255", "u1", 255),
    (" 0 ", "u1", 0),
    ("0\0", "u2", 0),
    ("1.5", "u1", None),
    ("nan", "u1", None),
    ("nan", "f4", None),
    ("inf", "f4", None),
    ("1e20", "i4", None),
    ("1e20", "f4", float(np.float32(1e20))),
    ("18446744073709551615", "u8", 2**64 - 1),
    ("9223372036854775808", "i8", None),
    ("-3.4028234663852886e+38", "f4", LOWEST),
    ("-3.40282346638529e+38", "f4", LOWEST),
    ("-3.4028236e+38", "f4", LOWEST),
    ("1.797693134862316e+308", "f8", 1.7976931348623157e308),
    ("1.797693134862316e+308", "f4", None),
    ("-1.7976931348623157e+308", "f4", None),
    ("-1.7976931348623157e+308", "f8", -1.7976931348623157e308),
    ("none", "f4", None),
    ("", "u1", None),
    ((1, 2), "u1", None),
]


@pytest.mark.parametrize(("text", "dtype", "value"), TEXTS)
def test_texts(text, dtype, value):
    assert parse_nodata(text, np.dtype(dtype)) == value


@pytest.mark.parametrize("text", ["-3.4028234663852886e+38", "-3.4028235e+38", "-3.402823e+38"])
def test_the_lowest_float_in_all_roundings(text):
    value = parse_nodata(text, np.dtype("f4"))
    pixels = np.array([LOWEST, -LOWEST, -3.3e38, 0, np.nan, -np.inf], "f4")
    assert is_nodata(pixels, value).tolist() == [True, False, False, False, False, False]


def written(path, data, nodata, **more):
    tag = (42113, "s", 0, nodata, True)
    tifffile.imwrite(path, data, extratags=[tag], metadata=None, **more)
    return path


def image(dtype, value):
    data = (50 + np.random.default_rng(0).normal(0, 5, (40, 52))).astype(dtype)
    data[3:9, 11:30] = value
    return data


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "value", "text"),
    [
        ("i2", -9999, "-9999.0"),
        ("u1", 0, "0"),
        ("f4", LOWEST, "-3.4028234663852886e+38"),
        ("f4", -9999, "-9999"),
        ("f8", -1.7976931348623157e308, "-1.797693134862316e+308"),
    ],
)
def test_it_is_not_restored_and_is_exported(tmp_path, dtype, value, text):
    data = image(dtype, value)
    path, target = written(tmp_path / "a.tif", data, text), tmp_path / "o.tif"
    restore(request(path, tmp_path / "a.zarr", FIT, export=target), InlinePool())
    none = data == value
    final = level0(tmp_path / "a.zarr")
    if final.dtype.kind == "f":
        np.testing.assert_array_equal(np.isnan(final), none)
    else:
        np.testing.assert_array_equal(final[none], data[none])
    assert np.abs(final[~none].astype("f8") - 50).max() < 30
    with tifffile.TiffFile(target) as tiff:
        exported, tag = tiff.asarray(), tiff.pages[0].tags[42113].value
    assert tag == text
    if dtype != "f8":  # float32 holds no such value
        np.testing.assert_array_equal(exported == value, none)


def test_a_value_that_no_pixel_can_have_is_ignored(tmp_path):
    """-9999 in bytes once became 0, and 920 black pixels were repainted."""
    data = image("u1", 0)
    path = written(tmp_path / "a.tif", data, "-9999")
    restore(
        request(path, tmp_path / "a.zarr", {**COPY, "output": {"invalid": "fill"}}), InlinePool()
    )
    np.testing.assert_array_equal(level0(tmp_path / "a.zarr"), data)
    source = open_source(SourceSpec(path))
    assert source.read(Box(0, 40, 0, 52)).valid.all()
    source.close()


def test_channels_are_checked_one_by_one(tmp_path):
    data = np.random.default_rng(0).integers(1, 255, (20, 30, 3), dtype="u1")
    data[4, 5, 1] = 0
    path = written(tmp_path / "a.tif", data, "0", photometric="rgb")
    source = open_source(SourceSpec(path))
    invalid = ~source.read(Box(0, 20, 0, 30)).valid
    source.close()
    assert np.argwhere(invalid).tolist() == [[1, 4, 5]]
