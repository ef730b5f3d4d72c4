"""XISF files: every way of storing pixels, the keywords, and damage."""

import numpy as np
import pytest
import tifffile
import zarr
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from PIL import ImageCms
from runs import COPY, request
from xisf_files import CODECS, TYPES, write_xisf

from glassplate.pipeline.errors import GlassplateError, SourceError, UsageError
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.extra.xisf_file import _unshuffled
from glassplate.pipeline.sources.open_image import open_image
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

KEYWORDS = (
    ("SIMPLE", "T", ""),
    ("NAXIS1", "9999", ""),
    ("FILTER", "'Ha'", "band"),
    ("EXPTIME", "300.", "seconds"),
    ("CTYPE1", "'RA---TAN'", ""),
    ("CTYPE2", "'DEC--TAN'", ""),
    ("CDELT1", "-2.0E-4", ""),
    ("CDELT2", "2.0E-4", ""),
    ("OBJECT", f"'{'long ' * 20}'", ""),
    ("BAD KEY!", "1", ""),
    ("HISTORY", "", "calibrated"),
)


def picture(shape, dtype):
    ramp = np.arange(np.prod(shape)).reshape(shape)
    return (ramp % 251 if dtype != "f8" else ramp / 7).astype(dtype)


def read(path, **spec):
    source = open_image(SourceSpec(path, **spec))
    try:
        _, height, width = source.shape
        return source, source.read(Box(0, height, 0, width)).values
    finally:
        source.close()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(20, 30), (3, 20, 30)])
@pytest.mark.parametrize(
    "way",
    [
        {},
        {"normal": True},
        {"big": True},
        {"inline": True},
        *({"codec": codec, "shuffle": shuffle} for codec in CODECS for shuffle in (False, True)),
        {"codec": "zlib", "shuffle": True, "blocks": 3, "normal": True},
    ],
)
def test_pixels(tmp_path, dtype, shape, way):
    pixels = picture(shape, dtype)
    write_xisf(tmp_path / "a.xisf", pixels, **way)
    source, values = read(tmp_path / "a.xisf")
    np.testing.assert_array_equal(values.reshape(shape), pixels)
    assert source.dtype == np.dtype(dtype)
    assert source.info.name == "main"
    plain = not way.get("codec") and not way.get("inline")
    assert source.resident_bytes == (0 if plain else pixels.nbytes)


@given(st.binary(max_size=100), st.integers(1, 9))
def test_shuffled_bytes_come_back(raw, item):
    count = len(raw) // item
    planes = [raw[place : count * item : item] for place in range(item)]
    assert _unshuffled(b"".join(planes) + raw[count * item :], item) == raw


def test_it_is_restored_with_its_keywords(tmp_path):
    path, target = tmp_path / "a.xisf", tmp_path / "out.fits"
    pixels = np.random.default_rng(0).normal(0.3, 0.01, (50, 70)).astype("f4")
    write_xisf(path, pixels, codec="zlib", shuffle=True, keywords=KEYWORDS)
    restore(request(path, tmp_path / "a.zarr", COPY, export=target), InlinePool())
    header = fits.getheader(target)
    np.testing.assert_array_equal(fits.getdata(target), pixels)
    assert (header["FILTER"], header["EXPTIME"], header["NAXIS1"]) == ("Ha", 300.0, 70)
    assert header["OBJECT"] == "long " * 20 or header["OBJECT"] == ("long " * 20).rstrip()
    assert "calibrated" in header["HISTORY"]
    ome = zarr.open_group(tmp_path / "a.zarr", mode="r").attrs["ome"]["multiscales"][0]
    assert [axis["unit"] for axis in ome["axes"]] == ["arcsecond", "arcsecond"]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"geometry": "30:20"}, "geometry is 30:20, must be width:height:channels"),
        ({"geometry": "30:20:0"}, "zero size"),
        ({"sampleFormat": "Complex32"}, "sampleFormat is Complex32"),
        ({"colorSpace": "CIELab"}, "CIE Lab"),
        ({"geometry": "31:20:1"}, "600 bytes of pixels, 620 are needed"),
        ({"location": "attachment:4096:601"}, "is cut"),
        ({"location": "url(http://a.b)"}, "which is not read"),
        ({"compression": "zlib:600"}, "cannot be read"),
        ({"compression": "other:600"}, "compression by other is not known"),
        ({"compression": "zlib:700"}, "600 bytes are needed"),
        ({"compression": "zlib:600", "geometry": "99999999:99999:1"}, "save it plain"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, changed, why):
    write_xisf(tmp_path / "a.xisf", picture((20, 30), "u1"), **changed)
    with pytest.raises(SourceError, match=why) as error:
        open_image(SourceSpec(tmp_path / "a.xisf"))
    assert "a.xisf" in str(error.value)
    assert len(describe(tmp_path / "a.xisf")["images"]) == 1


def test_images_are_named_by_id_or_number(tmp_path):
    pixels = picture((20, 30), "u1")
    write_xisf(tmp_path / "a.xisf", pixels)
    for name in ("main", 0, "0"):
        np.testing.assert_array_equal(read(tmp_path / "a.xisf", hdu=name)[1][0], pixels)
    with pytest.raises(SourceError, match="no image other; there are 0 to 0"):
        read(tmp_path / "a.xisf", hdu="other")
    with pytest.raises(UsageError, match="use --hdu"):
        read(tmp_path / "a.xisf", page=0)


def test_damaged_files_are_read_or_refused(tmp_path):
    path = tmp_path / "a.xisf"
    write_xisf(path, picture((20, 30), "u2"), codec="lz4", shuffle=True, keywords=KEYWORDS)
    whole = path.read_bytes()
    refused = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        raw = bytearray(whole)
        for at in rng.integers(8, len(raw) if seed % 2 else 2000, 4):
            raw[at] = rng.integers(256)
        path.write_bytes(raw[: rng.integers(9, len(raw))] if seed % 5 == 0 else raw)
        for step in (describe, lambda file: read(file)):
            try:
                step(path)
            except GlassplateError:
                refused += 1
    assert refused > 20


def test_the_colour_profile_comes_into_a_tiff(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    write_xisf(tmp_path / "a.xisf", picture((3, 20, 30), "f4"), profile=profile)
    target = tmp_path / "a.tif"
    restore(request(tmp_path / "a.xisf", tmp_path / "a.zarr", COPY, export=target), InlinePool())
    with tifffile.TiffFile(target) as tiff:
        assert tiff.pages.first.tags.valueof(34675) == profile
        # the first row of XISF is the highest, as in TIFF
        assert (tiff.asarray() == np.moveaxis(picture((3, 20, 30), "f4"), 0, 2)).all()
