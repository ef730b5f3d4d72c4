"""Opening sources: formats by content, bad input refused in one line, masks and variances."""

import json
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from astropy.io import fits

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.file_format import sniff_format
from glassplate.pipeline.sources.source import SourceSpec, choose_working_dtype, split_extension
from glassplate.pipeline.tile_grid import Box

ALL = Box(0, 20, 0, 30)


def read(path, box=ALL, **spec):
    source = open_source(SourceSpec(path, **spec))
    try:
        return source.read(box)
    finally:
        source.close()


@pytest.fixture
def sky(tmp_path):
    fits.writeto(tmp_path / "sky.fits", np.arange(600, dtype="f4").reshape(20, 30))
    return tmp_path / "sky.fits"


@pytest.fixture
def colours(tmp_path):
    data = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype="u1")
    tifffile.imwrite(tmp_path / "rgb.tif", data)
    return tmp_path / "rgb.tif"


class TestSniffing:
    def test_names_do_not_matter(self, sky, colours, tmp_path):
        for original, found in ((sky, "fits"), (colours, "tiff")):
            misnamed = tmp_path / "page.jpg"
            misnamed.write_bytes(original.read_bytes())
            assert sniff_format(misnamed) == found
        jpeg = tmp_path / "scan.tif"
        jpeg.write_bytes(imagecodecs.jpeg_encode(np.zeros((20, 30), "u1")))
        assert sniff_format(jpeg) == "jpeg"
        assert open_source(SourceSpec(jpeg)).format == "jpeg"


BAD = {
    "missing": (lambda d: d / "no.fits", "no such file or directory"),
    "a folder": (lambda d: d, r"a folder of images needs a job \(`glassplate batch`\)"),
    "empty": (lambda d: _write(d / "a.fits", b""), "is empty"),
    "text": (
        lambda d: _write(d / "a.fits", b"not a FITS file\n" * 99),
        "is no FITS, TIFF, PNG or JPEG",
    ),
    "bmp": (lambda d: _write(d / "a.tif", b"BM" + bytes(99)), "is a BMP image"),
    "compress": (
        lambda d: _write(d / "a.fits.Z", b"\x1f\x9d" + bytes(99)),
        "truncated or damaged compress stream",
    ),
    "only magic": (lambda d: _write(d / "a.tif", b"II*\0"), "not a readable TIFF file"),
    "only SIMPLE": (lambda d: _write(d / "a.fits", b"SIMPLE  ="), "not a readable FITS file"),
    "no page": (lambda d: _write(d / "a.tif", b"II*\0" + bytes(8)), "no page|not a readable"),
    "no image": (lambda d: _no_image(d), "no image to restore; its HDUs are 0 PRIMARY: no data"),
}


def _write(path, content):
    path.write_bytes(content)
    return path


def _no_image(folder):
    fits.HDUList([fits.PrimaryHDU()]).writeto(folder / "none.fits")
    return folder / "none.fits"


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_clear_line(tmp_path, kind):
    make, why = BAD[kind]
    path = make(tmp_path)
    with pytest.raises(SourceError, match=why) as caught:
        open_source(SourceSpec(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    if kind != "no image":
        with pytest.raises(SourceError):
            describe(path)


@pytest.mark.parametrize("make", ["sky", "colours"])
def test_sources_fulfil_the_contract(request, make):
    source = open_source(SourceSpec(request.getfixturevalue(make)))
    pixels = source.read(Box(3, 9, 4, 11))
    source.close()
    assert pixels.values.shape == pixels.valid.shape == (source.shape[0], 6, 7)
    assert pixels.values.dtype == source.working_dtype
    assert pixels.valid.dtype == bool
    assert pixels.variance is None
    assert json.loads(json.dumps(source.metadata)) == source.metadata
    assert list(source.metadata) == [source.format]
    assert json.loads(json.dumps(describe(source.spec.path)))["format"] == source.format


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("u1", "f4"),
        ("i2", "f4"),
        ("u2", "f4"),
        ("f2", "f4"),
        ("f4", "f4"),
        ("i4", "f8"),
        ("u4", "f8"),
        ("f8", "f8"),
    ],
)
def test_working_dtype_holds_every_value(dtype, expected):
    assert choose_working_dtype(np.dtype(dtype)) == expected


class TestMaskAndVariance:
    @pytest.fixture
    def bad(self):
        bad = np.zeros((20, 30), bool)
        bad[4:7, 5:9] = True
        return bad

    @pytest.mark.parametrize(
        "kind",
        ["fits", "png", "bilevel tiff", "miniswhite tiff", "grey miniswhite tiff", "bilevel png"],
    )
    def test_non_zero_is_invalid_in_every_format(self, sky, bad, tmp_path, kind):
        path = tmp_path / "mask"
        if kind == "fits":
            fits.writeto(path, bad.astype("i2") * 4)
        elif kind == "png":
            path.write_bytes(imagecodecs.png_encode(bad.astype("u1") * 255))
        elif kind == "bilevel tiff":
            tifffile.imwrite(path, bad, photometric="minisblack", compression="packbits")
        elif kind == "miniswhite tiff":
            # what is displayed counts: white, which this file stores as 0, is what the user painted
            tifffile.imwrite(path, ~bad, photometric="miniswhite")
        elif kind == "grey miniswhite tiff":
            # such a mask filled all that it should keep
            tifffile.imwrite(path, (~bad).astype("u1") * 255, photometric="miniswhite")
        else:
            path.write_bytes(_one_bit_png(bad))
        pixels = read(sky, mask=path)
        np.testing.assert_array_equal(pixels.valid[0], ~bad)
        # a masked pixel keeps its value: an integer result may give it back
        np.testing.assert_array_equal(pixels.values[0], np.arange(600).reshape(20, 30))

    def test_a_two_dimensional_mask_holds_for_all_channels(self, colours, bad, tmp_path):
        fits.writeto(tmp_path / "mask.fits", bad.astype("u1"))
        pixels = read(colours, mask=tmp_path / "mask.fits")
        np.testing.assert_array_equal(pixels.valid, np.broadcast_to(~bad, (3, 20, 30)))

    def test_a_mask_for_each_channel(self, colours, tmp_path):
        mask = np.random.default_rng(0).integers(0, 2, (3, 20, 30), dtype="u1")
        fits.writeto(tmp_path / "mask.fits", mask)
        source = open_source(SourceSpec(colours, mask=tmp_path / "mask.fits"))
        np.testing.assert_array_equal(source.read(ALL).valid, mask == 0)
        np.testing.assert_array_equal(source.read(ALL, (1, 2)).valid, mask[1:2] == 0)
        source.close()

    def test_nan_in_a_mask_is_invalid(self, sky, tmp_path):
        mask = np.zeros((20, 30), "f4")
        mask[1, 1] = np.nan
        fits.writeto(tmp_path / "mask.fits", mask)
        assert (~read(sky, mask=tmp_path / "mask.fits").valid).sum() == 1

    def test_variance(self, colours, tmp_path):
        variance = np.full((20, 30), 2.5)
        variance[0, :6] = [0, -1, np.nan, np.inf, 1e-60, 1e60]
        fits.writeto(tmp_path / "var.fits", variance)
        pixels = read(colours, variance=tmp_path / "var.fits")
        usable = np.ones((20, 30), bool)
        usable[0, :6] = False
        np.testing.assert_array_equal(pixels.valid, np.broadcast_to(usable, (3, 20, 30)))
        assert pixels.variance.dtype == np.float32
        assert pixels.variance.shape == (3, 20, 30)
        assert (pixels.variance[:, usable] == 2.5).all()

    def test_planes_of_the_same_file(self, tmp_path):
        dq = np.zeros((20, 30), "i2")
        dq[2, 2] = 8
        hdus = [
            fits.PrimaryHDU(),
            fits.ImageHDU(np.ones((20, 30), "f4"), name="SCI"),
            fits.ImageHDU(dq, name="DQ"),
            fits.ImageHDU(np.full((20, 30), 4, "f4"), name="VAR"),
        ]
        fits.HDUList(hdus).writeto(tmp_path / "mef.fits")
        pixels = read(
            tmp_path / "mef.fits", mask=tmp_path / "mef.fits[DQ]", variance=tmp_path / "mef.fits[3]"
        )
        assert list(zip(*np.nonzero(~pixels.valid[0]), strict=True)) == [(2, 2)]
        assert (pixels.variance == 4).all()

    @pytest.mark.parametrize("role", ["mask", "variance"])
    def test_another_shape_is_refused(self, sky, colours, tmp_path, role):
        fits.writeto(tmp_path / "small.fits", np.ones((20, 31), "f4"))
        with pytest.raises(
            SourceError,
            match=rf"{role} .*small\.fits: shape \(1, 20, 31\) does not fit .*\(1, 20, 30\)",
        ):
            open_source(SourceSpec(sky, **{role: tmp_path / "small.fits"}))
        with pytest.raises(SourceError, match="must be on the same grid"):
            open_source(SourceSpec(sky, **{role: colours}))
        with pytest.raises(SourceError, match=rf"{role} .*no\.fits: no such file"):
            open_source(SourceSpec(sky, **{role: tmp_path / "no.fits"}))


def _one_bit_png(bad):
    import struct
    import zlib

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    rows = np.hstack([np.zeros((bad.shape[0], 1), "u1"), np.packbits(bad, axis=1)]).tobytes()
    header = struct.pack(">IIBBBBB", bad.shape[1], bad.shape[0], 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.fits", ("a.fits", None)),
        ("a.fits[DQ]", ("a.fits", "DQ")),
        ("a.tif[2]", ("a.tif", 2)),
        ("a[1]b.fits", ("a[1]b.fits", None)),
        ("x]", ("x]", None)),
    ],
)
def test_extension_in_brackets(name, expected):
    assert split_extension(Path("/d") / name) == (Path("/d") / expected[0], expected[1])


def test_a_file_whose_name_has_brackets_is_not_split(tmp_path):
    path = tmp_path / "a.fits[1]"
    path.write_bytes(b"")
    assert split_extension(path) == (path, None)
