"""TIFF pages: every layout gives the stored pixels, and only strips and tiles of the box are decoded."""

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.sources import segments
from glassplate.pipeline.sources.describe import describe
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


LAYOUTS = {
    "contiguous": {},
    "strips": {"rowsperstrip": 7},
    "deflate strips": {"rowsperstrip": 7, "compression": "zlib", "predictor": True},
    "lzw one strip": {"compression": "lzw"},
    "tiles": {"tile": (16, 32)},
    "deflate tiles": {"tile": (16, 32), "compression": "zlib"},
    "zstd tiles, big endian": {"tile": (16, 32), "compression": "zstd", "byteorder": ">"},
    "bigtiff, big endian": {"bigtiff": True, "byteorder": ">"},
}
BOXES = [Box(0, 45, 0, 70), Box(5, 6, 0, 70), Box(6, 22, 30, 41), Box(44, 45, 69, 70)]


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4, 6])
def test_every_layout(tmp_path, opened, layout, planar, channels):
    data = np.random.default_rng(0).integers(0, 65536, (channels, 45, 70), dtype="u2")
    stored = data if planar else np.moveaxis(data, 0, -1)
    if channels == 1:
        stored = data[0]
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored,
        photometric="rgb" if channels in (3, 4) else "minisblack",
        planarconfig=None if channels == 1 else "separate" if planar else "contig",
        extrasamples=[0] if channels == 4 else None,
        **LAYOUTS[layout],
    )
    source = opened(tmp_path / "a.tif")
    assert source.shape == (channels, 45, 70)
    assert source.info.shape == ((45, 70) if channels == 1 else (channels, 45, 70))
    assert (source.ndim, source.joint) == (2 if channels == 1 else 3, channels <= 4)
    for box in BOXES:
        pixels = source.read(box)
        np.testing.assert_array_equal(pixels.values, data[(slice(None), *box.slices)])
        assert pixels.valid.all()
        last = (channels - 1, channels)
        np.testing.assert_array_equal(
            source.read(box, last).values, data[(slice(*last), *box.slices)]
        )


@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]
)
def test_every_pixel_type(tmp_path, opened, dtype):
    data = (np.random.default_rng(0).random((9, 11)) * 100).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", data, compression="zlib")
    source = opened(tmp_path / "a.tif")
    np.testing.assert_array_equal(whole(source).values[0], data)
    assert source.dtype == np.dtype(dtype)
    assert source.output_dtype == (np.float32 if dtype == "f2" else data.dtype)


@pytest.mark.parametrize("bits", [2, 4, 10, 12, 14, 24])
def test_odd_bit_depths(tmp_path, opened, bits):
    dtype = "u1" if bits < 8 else "u2" if bits < 16 else "u4"
    data = np.random.default_rng(0).integers(0, 2**bits, (9, 11), dtype=dtype)
    tifffile.imwrite(tmp_path / "a.tif", data, bitspersample=bits)
    np.testing.assert_array_equal(whole(opened(tmp_path / "a.tif")).values[0], data)


def test_jpeg_tiles_are_those_of_the_codec(tmp_path, opened):
    y, x = np.mgrid[0:100, 0:120]
    data = np.stack([y * 2, x * 2, y + x], axis=2).astype("u1")
    tifffile.imwrite(tmp_path / "a.tif", data, compression="jpeg", tile=(48, 48), photometric="rgb")
    source = opened(tmp_path / "a.tif")
    expected = np.moveaxis(tifffile.imread(tmp_path / "a.tif"), -1, 0)
    np.testing.assert_array_equal(whole(source).values, expected)
    assert source.metadata["tiff"]["photometric"] == 2


def test_nan_and_declared_no_data_are_invalid(tmp_path, opened):
    data = np.ones((5, 6), "f4")
    data[1, 2] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", data)
    pixels = whole(opened(tmp_path / "a.tif"))
    np.testing.assert_array_equal(pixels.valid[0], np.isfinite(data))
    assert pixels.values[0, 1, 2] == 0
    levels = np.arange(30, dtype="i2").reshape(5, 6)
    tifffile.imwrite(tmp_path / "b.tif", levels, extratags=[(42113, 2, None, "7", True)])
    pixels = whole(opened(tmp_path / "b.tif"))
    np.testing.assert_array_equal(pixels.valid[0], levels != 7)
    np.testing.assert_array_equal(pixels.values[0], levels)


class TestPages:
    @pytest.fixture
    def pages(self, tmp_path):
        with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
            tiff.write(np.zeros((4, 5), "u1"), subfiletype=1)
            tiff.write(np.full((40, 50), 1, "u1"), extratags=[(285, 2, None, "recto", True)])
            tiff.write(np.full((40, 50), 2, "u2"))
            tiff.write(
                np.zeros((40, 50), "u1"), photometric="palette", colormap=np.zeros((3, 256), "u2")
            )
            tiff.write(np.zeros((40, 48), bool))
        return tmp_path / "a.tif"

    def test_the_first_full_page_is_the_default(self, pages, opened):
        assert opened(pages).info.index == 1
        assert opened(pages, page=0).shape == (1, 4, 5)
        assert (whole(opened(pages, page=2)).values == 2).all()

    def test_refusals_say_why(self, pages):
        with pytest.raises(SourceError, match="no page 5; there are 0 to 4"):
            open_source(SourceSpec(pages, page=5))
        with pytest.raises(UsageError, match="--hdu is for FITS"):
            open_source(SourceSpec(pages, hdu=1))

    def test_describe(self, pages):
        images = describe(pages)["images"]
        assert [image["restorable"] for image in images] == [True] * 5
        assert [image["name"] for image in images] == ["", "recto", "", "", ""]
        assert images[2]["dtype"] == "uint16"


class TestDamage:
    @pytest.mark.parametrize("layout", ["contiguous", "strips", "deflate strips", "deflate tiles"])
    def test_truncated(self, tmp_path, layout):
        data = np.random.default_rng(0).integers(0, 256, (300, 300), dtype="u1")
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, data, **LAYOUTS[layout])
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(SourceError, match=rf"{path}: .*truncated"):
            open_source(SourceSpec(path))

    def test_truncated_before_its_directory(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", np.zeros((30, 30), "u1"))
        (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:20])
        with pytest.raises(SourceError, match=r"a\.tif: "):
            open_source(SourceSpec(tmp_path / "a.tif"))

    def test_damaged_strip_names_its_place(self, tmp_path, opened):
        data = np.random.default_rng(0).integers(0, 256, (100, 100), dtype="u1")
        tifffile.imwrite(tmp_path / "a.tif", data, compression="zlib", rowsperstrip=10)
        with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
            at = tiff.pages[0].dataoffsets[4]
        raw = bytearray((tmp_path / "a.tif").read_bytes())
        raw[at : at + 50] = b"\xff" * 50
        (tmp_path / "a.tif").write_bytes(raw)
        source = opened(tmp_path / "a.tif")
        np.testing.assert_array_equal(source.read(Box(0, 40, 0, 100)).values[0], data[:40])
        with pytest.raises(SourceError, match="page 0: strip 4 cannot be decoded"):
            source.read(Box(35, 45, 0, 9))

    def test_strip_too_large_to_hold(self, tmp_path, monkeypatch):
        monkeypatch.setattr("glassplate.pipeline.sources.tiff.restorable.SEGMENT_LIMIT_BYTES", 1000)
        tifffile.imwrite(tmp_path / "a.tif", np.zeros((50, 50), "u1"), compression="zlib")
        with pytest.raises(SourceError, match="held at once; save it in tiles first"):
            open_source(SourceSpec(tmp_path / "a.tif"))
        tifffile.imwrite(
            tmp_path / "b.tif", np.zeros((50, 50), "u1"), compression="zlib", tile=(16, 16)
        )
        open_source(SourceSpec(tmp_path / "b.tif")).close()


def test_strips_are_decoded_once(tmp_path, opened, monkeypatch):
    decoded = []
    from glassplate.pipeline.sources.tiff import image as tiff

    original = tiff.decode_segment
    monkeypatch.setattr(
        tiff,
        "decode_segment",
        lambda page, file, index: (decoded.append(index), original(page, file, index))[1],
    )
    data = np.random.default_rng(0).integers(0, 256, (64, 512), dtype="u1")
    tifffile.imwrite(tmp_path / "a.tif", data, compression="zlib", rowsperstrip=8)
    source = opened(tmp_path / "a.tif")
    for x in range(0, 512, 32):
        source.read(Box(0, 20, x, x + 32))
    assert decoded == [0, 1, 2]


class TestSegments:
    @given(
        shape=st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 20)),
        cut=st.tuples(st.integers(1, 25), st.integers(1, 25)),
        data=st.data(),
    )
    def test_any_box_from_any_grid(self, shape, cut, data):
        image = np.arange(np.prod(shape)).reshape(shape)
        y0, x0 = (data.draw(st.integers(0, n - 1)) for n in shape[1:])
        box = Box(
            y0,
            data.draw(st.integers(y0 + 1, shape[1])),
            x0,
            data.draw(st.integers(x0 + 1, shape[2])),
        )

        def fetch(row, column):
            return image[
                :, row * cut[0] : (row + 1) * cut[0], column * cut[1] : (column + 1) * cut[1]
            ]

        np.testing.assert_array_equal(
            segments.gather(box, cut, fetch), image[(slice(None), *box.slices)]
        )

    def test_cache_is_bounded_and_drops_the_oldest(self):
        cache = segments.SegmentCache(limit_bytes=250)
        made = []

        def segment(key, size=100):
            def decode():
                made.append(key)
                return np.zeros(size, "u1")

            return cache.get(key, decode)

        for key in (1, 2, 1, 3, 1, 2):
            segment(key)
            assert cache.held_bytes <= 250
        assert made == [1, 2, 3, 2]
        segment("huge", 1000)
        segment("huge", 1000)
        assert made[-1:] == ["huge"]
        assert cache.held_bytes == 1000


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["tiles", "strip"])
def test_reading_is_lazy(forks, tmp_path, layout):
    """One box of 8000 x 8000 uint16 (122 MiB) takes a few MiB, be it deflate tiles or one plain strip."""
    path = tmp_path / "big.tif"
    if layout == "tiles":
        tile = np.arange(256 * 256, dtype="u2").reshape(256, 256)
        tiles = (tile for _ in range(32 * 32))
        tifffile.imwrite(
            path, tiles, shape=(8000, 8000), dtype="u2", tile=(256, 256), compression="zlib"
        )
    else:
        _one_strip(path)
    assert forks.call("read_growth", str(path), 4000, 4320, 4000, 4320) < 30 << 20


def _one_strip(path):
    """A sparse file: the pixels are a hole."""
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(None, shape=(8000, 8000), dtype="u2", rowsperstrip=8000)
