"""FITS images: every pixel type, scaling, invalid pixels and HDUs; only the box is read."""

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.fits.extensions import resolved
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box


@pytest.fixture
def opened():
    """Open sources that are closed at the end."""
    sources = []

    def open_(path, **spec):
        sources.append(open_source(SourceSpec(path, **spec)))
        return sources[-1]

    yield open_
    for source in sources:
        source.close()


def whole(source):
    return source.read(Box(0, source.shape[1], 0, source.shape[2]))


DTYPES = ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_pixel_type(tmp_path, opened, dtype):
    rng = np.random.default_rng(0)
    data = (rng.random((13, 17)) * 200 - (60 if np.dtype(dtype).kind != "u" else 0)).astype(dtype)
    fits.writeto(tmp_path / "a.fits", data)
    source = opened(tmp_path / "a.fits")
    np.testing.assert_array_equal(whole(source).values[0], data)
    assert source.dtype == source.info.dtype == np.dtype(dtype)
    exact = np.can_cast(data.dtype, np.float32, "safe")
    assert (
        source.output_dtype
        == source.working_dtype
        == whole(source).values.dtype
        == (np.float32 if exact else np.float64)
    )
    assert (source.shape, source.ndim, source.resident_bytes) == ((1, 13, 17), 2, 0)


@pytest.mark.parametrize("raw", ["i2", "i4", "u1"])
def test_scaled_integers(tmp_path, opened, raw):
    stored = np.arange(120, dtype=raw).reshape(10, 12)
    hdu = fits.PrimaryHDU(stored)
    hdu.header["BSCALE"], hdu.header["BZERO"] = 0.045777764213996, 1500.0
    hdu.writeto(tmp_path / "a.fits")
    source = opened(tmp_path / "a.fits")
    expected = stored * 0.045777764213996 + 1500.0
    np.testing.assert_allclose(whole(source).values[0], expected, rtol=1e-7)
    # astropy computes in float32, one rounding worse
    np.testing.assert_allclose(
        whole(source).values[0], fits.getdata(tmp_path / "a.fits"), rtol=2e-7
    )


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("dtype", "blank"), [("i2", -32768), ("i2", 0), ("u2", 5), ("i4", 7), ("u1", 0)]
)
def test_blank_is_invalid(tmp_path, opened, dtype, blank, compressed):
    """astropy ignores BLANK = 0 and the BLANK of unsigned images."""
    data = np.arange(1, 121, dtype=dtype).reshape(10, 12)
    offset = 32768 if dtype == "u2" else 0
    data[2, 3] = blank + offset
    hdu = fits.CompImageHDU(data) if compressed else fits.PrimaryHDU(data)
    hdu.header["BLANK"] = blank
    hdu.writeto(tmp_path / "a.fits")
    pixels = whole(opened(tmp_path / "a.fits"))
    expected = np.ones((10, 12), bool)
    expected[2, 3] = False
    expected &= data != blank + offset
    np.testing.assert_array_equal(pixels.valid[0], expected)
    np.testing.assert_array_equal(pixels.values[0], np.where(expected, data, 0))


def test_nan_and_infinity_are_invalid(tmp_path, opened):
    data = np.ones((6, 7), "f4")
    data[1, 2], data[3, 4], data[5, 6] = np.nan, np.inf, -np.inf
    fits.writeto(tmp_path / "a.fits", data)
    pixels = whole(opened(tmp_path / "a.fits"))
    np.testing.assert_array_equal(pixels.valid[0], np.isfinite(data))
    np.testing.assert_array_equal(pixels.values[0], np.where(np.isfinite(data), data, 0))


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1"])
@pytest.mark.parametrize("tile", [None, (7, 11), (40, 50)])
def test_tile_compressed(tmp_path, opened, algorithm, tile):
    data = np.random.default_rng(0).integers(0, 1000, (40, 50), dtype="i2")
    if algorithm == "HCOMPRESS_1" and tile is None:
        tile = (16, 50)
    fits.CompImageHDU(data, compression_type=algorithm, tile_shape=tile).writeto(
        tmp_path / "a.fits"
    )
    source = opened(tmp_path / "a.fits")
    for box in (Box(0, 40, 0, 50), Box(3, 9, 10, 40), Box(39, 40, 49, 50)):
        np.testing.assert_array_equal(source.read(box).values[0], data[box.slices])


def test_compressed_floats_keep_their_nan(tmp_path, opened):
    data = np.random.default_rng(0).normal(size=(40, 50)).astype("f4")
    data[3, 4] = np.nan
    fits.CompImageHDU(data, compression_type="RICE_1").writeto(tmp_path / "a.fits")
    pixels = whole(opened(tmp_path / "a.fits"))
    np.testing.assert_array_equal(pixels.valid[0], np.isfinite(data))
    np.testing.assert_array_equal(
        pixels.values[0], np.nan_to_num(fits.getdata(tmp_path / "a.fits"))
    )


@pytest.mark.slow
@given(data=st.data())
def test_any_box_of_a_cube(tmp_path_factory, data):
    shape = data.draw(st.tuples(*[st.integers(1, 9)] * 3))
    compressed = data.draw(st.booleans())
    y, x, c = (
        data.draw(st.tuples(st.integers(0, n - 1), st.integers(1, n)))
        for n in (*shape[1:], shape[0])
    )
    box = Box(y[0], max(y[1], y[0] + 1), x[0], max(x[1], x[0] + 1))
    channels = c[0], max(c[1], c[0] + 1)
    cube = np.arange(np.prod(shape), dtype="i4").reshape(shape)
    path = tmp_path_factory.mktemp("cube") / "a.fits"
    (fits.CompImageHDU(cube) if compressed else fits.PrimaryHDU(cube)).writeto(path)
    source = open_source(SourceSpec(path))
    try:
        expected = cube[(slice(*channels), *box.slices)]
        np.testing.assert_array_equal(source.read(box, channels).values, expected)
        np.testing.assert_array_equal(source.read(box).values, cube[(slice(None), *box.slices)])
    finally:
        source.close()


@pytest.mark.parametrize(
    ("shape", "info", "ndim", "joint"),
    [
        ((5, 6), (5, 6), 2, True),
        ((1, 5, 6), (5, 6), 2, True),
        ((1, 1, 5, 6), (5, 6), 2, True),
        ((3, 5, 6), (3, 5, 6), 3, True),
        ((4, 5, 6), (4, 5, 6), 3, True),
        ((9, 5, 6), (9, 5, 6), 3, False),
        ((1, 9, 5, 6), (9, 5, 6), 3, False),
        ((9, 1, 5, 6), (9, 5, 6), 3, False),
        ((1, 6), (1, 6), 2, True),
    ],
)
def test_axes(tmp_path, opened, shape, info, ndim, joint):
    data = np.arange(np.prod(shape), dtype="f4").reshape(shape)
    fits.writeto(tmp_path / "a.fits", data)
    source = opened(tmp_path / "a.fits")
    assert (source.info.shape, source.ndim, source.joint) == (info, ndim, joint)
    np.testing.assert_array_equal(whole(source).values, data.reshape(-1, *shape[-2:]))


class TestHdus:
    @pytest.fixture
    def mef(self, tmp_path):
        hdus = [
            fits.PrimaryHDU(),
            fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])], name="CAT"),
            fits.ImageHDU(np.full((4, 5), 1, "f4"), name="SCI", ver=1),
            fits.ImageHDU(np.full((4, 5), 2, "f4"), name="SCI", ver=2),
            fits.ImageHDU(np.zeros((2, 3, 4, 5), "f4"), name="FOUR"),
            fits.ImageHDU(np.zeros(7, "f4"), name="LINE"),
        ]
        hdus[2].header["BUNIT"] = " adu "
        fits.HDUList(hdus).writeto(tmp_path / "mef.fits")
        return tmp_path / "mef.fits"

    @pytest.mark.parametrize(
        ("wanted", "value", "index"),
        [(None, 1, 2), (3, 2, 3), ("sci", 1, 2), ("SCI,2", 2, 3), ("3", 2, 3)],
    )
    def test_choice(self, mef, opened, wanted, value, index):
        source = opened(mef, hdu=wanted)
        assert source.info.index == source.metadata["fits"]["hdu"] == index
        assert (whole(source).values == value).all()

    @pytest.mark.parametrize(
        ("wanted", "why"),
        [
            (0, "no data"),
            ("CAT", "a table"),
            ("FOUR", "more than three axes"),
            ("LINE", "one-dimensional"),
            (9, r"no HDU 9; there are 0 PRIMARY: no data; 1 CAT: a table.*2 SCI: \(4, 5\)"),
            (-1, "no HDU -1"),
            ("SCI,3", "no HDU 'SCI,3'"),
        ],
    )
    def test_refusals_say_why(self, mef, wanted, why):
        with pytest.raises(SourceError, match=why):
            open_source(SourceSpec(mef, hdu=wanted))

    def test_page_is_for_tiff(self, mef):
        with pytest.raises(UsageError, match="--page is for TIFF"):
            open_source(SourceSpec(mef, page=0))

    def test_describe(self, mef):
        found = describe(mef)
        assert (found["kind"], found["format"]) == ("source", "fits")
        assert [image["restorable"] for image in found["images"]] == [
            False,
            False,
            True,
            True,
            False,
            False,
        ]
        assert found["images"][2] == {
            "index": 2,
            "name": "SCI",
            "shape": (4, 5),
            "dtype": "float32",
            "unit": "adu",
            "restorable": True,
            "reason": None,
            "note": None,
        }

    def test_random_groups_and_zero_size(self, tmp_path):
        groups = fits.GroupData(
            np.zeros((2, 1, 3, 4), "f4"), parnames=["u"], pardata=[np.zeros(2)], bitpix=-32
        )
        fits.GroupsHDU(groups).writeto(tmp_path / "g.fits")
        with pytest.raises(SourceError, match="random groups"):
            open_source(SourceSpec(tmp_path / "g.fits"))
        fits.writeto(tmp_path / "z.fits", np.zeros((5, 0), "f4"))
        with pytest.raises(SourceError, match="zero size"):
            open_source(SourceSpec(tmp_path / "z.fits"))


class TestUnit:
    """BUNIT may stand in the primary header, as in every DECam file, where it was not found before."""

    @pytest.mark.parametrize("compressed", [False, True])
    @pytest.mark.parametrize(
        ("primary", "own", "inherit", "unit"),
        [
            ("adu", None, None, "adu"),
            (" adu ", "  ", None, "adu"),
            ("adu", "electron", None, "electron"),
            ("adu", None, True, "adu"),
            ("adu", None, False, None),
            (None, " count ", None, "count"),
            ("  ", None, None, None),
            (3, None, None, None),
            (None, None, None, None),
        ],
    )
    def test_of_an_extension(self, tmp_path, opened, primary, own, inherit, unit, compressed):
        data = np.ones((40, 50), "i2")
        image = (fits.CompImageHDU if compressed else fits.ImageHDU)(data)
        hdus = fits.HDUList([fits.PrimaryHDU(), image])
        for hdu, value in zip(hdus, (primary, own), strict=True):
            if value is not None:
                hdu.header["BUNIT"] = value
        if inherit is not None:
            image.header["INHERIT"] = inherit
        hdus.writeto(tmp_path / "a.fits")
        source = opened(tmp_path / "a.fits")
        assert source.unit == source.info.unit == unit
        assert describe(tmp_path / "a.fits")["images"][1]["unit"] == unit

    def test_a_primary_image_keeps_its_unit_to_itself(self, tmp_path, opened):
        hdus = fits.HDUList([fits.PrimaryHDU(np.ones((4, 5))), fits.ImageHDU(np.ones((4, 5)))])
        hdus[0].header["BUNIT"] = "adu"
        hdus.writeto(tmp_path / "a.fits")
        assert opened(tmp_path / "a.fits").unit == "adu"
        assert opened(tmp_path / "a.fits", hdu=1).unit is None

    def test_keywords_in_lower_case(self, tmp_path, opened):
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((4, 5)))]).writeto(
            tmp_path / "a.fits"
        )
        raw = (tmp_path / "a.fits").read_bytes()
        end = b"END".ljust(80)
        at = raw.index(end)
        card = b"bunit   = 'adu'".ljust(80)
        (tmp_path / "a.fits").write_bytes(raw[:at] + card + end + raw[at + 160 :])
        assert opened(tmp_path / "a.fits").unit == "adu"


class TestMetadata:
    def test_header_text_is_exact(self, tmp_path, opened):
        header = fits.Header()
        header["BUNIT"] = ("adu", "unit")
        header["LONGSTR"] = "x" * 200
        header["HIERARCH ESO DET ID"] = 5
        header["NOTHING"] = None
        header.add_history("one")
        fits.writeto(tmp_path / "a.fits", np.zeros((3, 4), "i2"), header)
        source = opened(tmp_path / "a.fits")
        original = fits.getheader(tmp_path / "a.fits")
        text = source.metadata["fits"]["header"]
        assert text == original.tostring(sep="\n", endcard=False, padding=False)
        assert fits.HeaderDiff(fits.Header.fromstring(text, sep="\n"), original).identical
        cards = {key: value for key, value, _ in source.metadata["fits"]["cards"]}
        assert (cards["BUNIT"], cards["ESO DET ID"], cards["NOTHING"]) == ("adu", 5, None)
        assert source.unit == "adu"

    def test_extensions_bring_the_primary_header(self, tmp_path, opened):
        primary = fits.PrimaryHDU()
        primary.header["OBJECT"] = "M 31"
        fits.HDUList([primary, fits.ImageHDU(np.zeros((3, 4)))]).writeto(tmp_path / "a.fits")
        assert "M 31" in opened(tmp_path / "a.fits").metadata["fits"]["primary"]


class TestDamage:
    @pytest.mark.parametrize("compressed", [False, True])
    @pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
    def test_truncated(self, tmp_path, keep, compressed):
        data = np.random.default_rng(0).normal(size=(200, 200)).astype("f4")
        hdu = (
            fits.CompImageHDU(data, compression_type="GZIP_1", quantize_level=0)
            if compressed
            else fits.PrimaryHDU(data)
        )
        path = tmp_path / "a.fits"
        hdu.writeto(path)
        raw = path.read_bytes()
        path.write_bytes(raw[: int(len(raw) * keep)])
        with pytest.raises(SourceError, match=rf"{path}.*truncated"):
            open_source(SourceSpec(path))
        assert not any(image["restorable"] for image in describe(path)["images"])

    def test_missing_padding_does_not_matter(self, tmp_path, opened):
        data = np.ones((50, 50), "f4")
        fits.writeto(tmp_path / "a.fits", data)
        raw = (tmp_path / "a.fits").read_bytes()
        (tmp_path / "a.fits").write_bytes(raw[: 2880 + data.nbytes])
        assert whole(opened(tmp_path / "a.fits")).values.sum() == 2500

    def test_truncated_while_it_is_open(self, tmp_path, opened):
        fits.writeto(tmp_path / "a.fits", np.ones((50, 50), "f4"))
        source = opened(tmp_path / "a.fits")
        with (tmp_path / "a.fits").open("r+b") as file:
            file.truncate(2880 + 20 * 50 * 4)
        assert source.read(Box(0, 20, 0, 50)).values.sum() == 1000
        with pytest.raises(
            SourceError, match="truncated: ends at byte 6880, pixels go on to byte 12880"
        ):
            source.read(Box(0, 21, 0, 50))

    def test_truncated_header(self, tmp_path):
        fits.writeto(tmp_path / "a.fits", np.ones((50, 50), "f4"))
        (tmp_path / "a.fits").write_bytes((tmp_path / "a.fits").read_bytes()[:400])
        with pytest.raises(SourceError, match="not a readable FITS file"):
            open_source(SourceSpec(tmp_path / "a.fits"))

    def test_one_odd_hdu_does_not_hide_the_others(self, tmp_path):
        fits.HDUList([fits.PrimaryHDU(np.ones((5, 5))), fits.ImageHDU(np.ones((5, 5)))]).writeto(
            tmp_path / "a.fits"
        )
        raw = bytearray((tmp_path / "a.fits").read_bytes())
        at = raw.index(b"BITPIX  ", 5760)
        raw[at : at + 30] = b"BITPIX  =                   33"
        (tmp_path / "a.fits").write_bytes(raw)
        first, *others = describe(tmp_path / "a.fits")["images"]
        assert first["restorable"]
        assert others
        assert not others[0]["restorable"]


@pytest.mark.slow
@pytest.mark.parametrize("compressed", [False, True])
def test_reading_is_lazy(forks, tmp_path, compressed):
    """One box of 8000 x 8000 unsigned integers (122 MiB) takes a few MiB."""
    path = tmp_path / "big.fits"
    if compressed:
        data = np.zeros((8000, 8000), "u2")
        fits.CompImageHDU(data, compression_type="RICE_1").writeto(path)
    else:
        header = fits.PrimaryHDU(np.zeros((1, 1), "u2")).header
        header["NAXIS1"] = header["NAXIS2"] = 8000
        with path.open("wb") as file:
            file.write(header.tostring().encode())
            file.truncate(file.tell() + 2 * 8000 * 8000)
    assert forks.call("read_growth", str(path), 4000, 4320, 4000, 4320) < 30 << 20


class TestConstantPlanes:
    """HST's planes without data, whose pixels all have the value PIXVALUE."""

    def write(self, path, bitpix, value, axes=(7, 5)):
        extension = fits.ImageHDU(name="ERR")
        extension.header["NPIX1"], extension.header["NPIX2"] = axes
        extension.header["PIXVALUE"] = value
        science = fits.ImageHDU(np.ones((5, 7), "f4"), name="SCI")
        fits.HDUList([fits.PrimaryHDU(), science, extension]).writeto(path)
        # astropy writes 8 where there is no data
        before, after = (f"BITPIX  = {value:>20}".encode() for value in (8, bitpix))
        start, _, last = path.read_bytes().rpartition(before)
        path.write_bytes(start + after + last)

    @pytest.mark.parametrize(
        ("bitpix", "value", "dtype"),
        [(-32, 2.5, "float32"), (16, 0, "int16"), (16, 0.0, "int16"), (16, 1.5, "float32")],
    )
    def test_all_pixels_have_the_value(self, tmp_path, opened, bitpix, value, dtype):
        self.write(tmp_path / "a.fits", bitpix, value)
        source = opened(tmp_path / "a.fits", hdu="ERR")
        assert (source.shape, source.dtype.name) == ((1, 5, 7), dtype)
        pixels = source.read(Box(1, 4, 2, 7))
        np.testing.assert_array_equal(pixels.values, np.full((1, 3, 5), value))
        assert pixels.valid.all()

    @pytest.mark.parametrize(
        ("value", "axes"), [("one", (7, 5)), (1, (0, 5)), (1, ("7", 5)), (1, (7, 2**40))]
    )
    def test_impossible_ones_have_no_data(self, tmp_path, opened, value, axes):
        self.write(tmp_path / "a.fits", 16, value, axes)
        with pytest.raises(SourceError, match="HDU 2 ERR: no data"):
            opened(tmp_path / "a.fits", hdu="ERR")

    def test_they_serve_as_mask_and_noise(self, tmp_path):
        self.write(tmp_path / "a.fits", 16, 0)
        spec = resolved(SourceSpec(tmp_path / "a.fits", hdu="SCI", mask=tmp_path / "a.fits[ERR]"))
        source = open_source(spec)
        assert source.read(Box(0, 5, 0, 7)).valid.all()
        source.close()
