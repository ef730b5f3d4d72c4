"""Damaged FITS headers are refused at once and in one line, whatever sizes they claim."""

import time

import numpy as np
import pytest
from astropy.io import fits

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.fits.scan import BLOCK, MOST_BLOCKS, spans
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

PIXELS = np.random.default_rng(0).normal(100, 5, (64, 96)).astype("f4")


@pytest.fixture
def plain(tmp_path):
    fits.writeto(tmp_path / "plain.fits", PIXELS)
    return tmp_path / "plain.fits"


@pytest.fixture
def extension(tmp_path):
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(PIXELS), fits.ImageHDU(PIXELS)]
    fits.HDUList(hdus).writeto(tmp_path / "extension.fits")
    return tmp_path / "extension.fits"


@pytest.fixture
def tiled(tmp_path):
    hdu = fits.CompImageHDU(PIXELS.astype("i2"), tile_shape=(16, 96))
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "tiled.fits")
    return tmp_path / "tiled.fits"


def give(path, keyword, value):
    """Write another value into the first card of a keyword; None blanks the card."""
    raw = bytearray(path.read_bytes())
    at = raw.index(f"{keyword:<8}=".encode())
    card = " " if value is None else f"{keyword:<8}= {value:>20}"
    raw[at : at + 80] = card.ljust(80).encode("latin-1")
    path.write_bytes(raw)


def refusal(path, hdu=None):
    """The message of the refusal, which comes within seconds: some of these files once hung for ever."""
    start = time.monotonic()
    with pytest.raises(SourceError) as caught:
        open_source(SourceSpec(path, hdu=hdu))
    assert time.monotonic() - start < 60
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


PRIMARY = [
    ("NAXIS", "-1", "NAXIS is -1, must be a whole number from 0 to 999"),
    ("NAXIS", "999", "no NAXIS3"),
    ("NAXIS", "1000000000", "NAXIS is 1000000000"),
    ("NAXIS", "2.5", "NAXIS is 2.5"),
    ("NAXIS", None, "no NAXIS"),
    ("NAXIS1", "2147483647", "truncated: the file has 28800 bytes"),
    ("NAXIS2", "2147483647", "truncated: the file has 28800 bytes"),
    ("NAXIS1", "99999999999999999999", "NAXIS1 is 99999999999999999999"),
    ("NAXIS1", "4611686018427387904", "more than any file holds"),
    ("NAXIS1", "-5", "NAXIS1 is -5, must be a whole number from 0"),
    ("NAXIS1", "'abc'", "NAXIS1 is 'abc'"),
    ("NAXIS1", "", "NAXIS1 is empty"),
    ("NAXIS2", None, "no NAXIS2"),
    ("BITPIX", "7", "BITPIX is 7, must be one of 8, 16, 32, 64, -32, -64"),
    ("BITPIX", "'x'", "BITPIX is 'x'"),
    # a tab was taken for a blank, and "'NAXIS1'" was the reason
    ("NAXIS1", "\t50", r"NAXIS1 is \t50, must"),
    ("NAXIS1", "50\0", r"NAXIS1 is 50\x00, must"),
    ("BITPIX", "-32\0\0", r"BITPIX is -32\x00\x00, must"),
]


@pytest.mark.parametrize(("keyword", "value", "why"), PRIMARY)
def test_impossible_sizes_of_the_primary(plain, keyword, value, why):
    give(plain, keyword, value)
    assert why in refusal(plain)


@pytest.mark.parametrize(
    ("keyword", "value", "shown"),
    [("BZERO", "0.0\0", r"0.0\x00"), ("BSCALE", "0,5", "0,5"), ("BSCALE", "1 2", "1 2")],
)
def test_a_scale_that_is_no_number(tmp_path, keyword, value, shown):
    """The reason was an "Empty or corrupt FITS file"."""
    path = tmp_path / "scaled.fits"
    hdu = fits.PrimaryHDU(PIXELS)
    hdu.header[keyword] = 2.0
    hdu.writeto(path)
    give(path, keyword, value)
    assert f"{keyword} is {shown}, must be a number" in refusal(path)


@pytest.mark.parametrize("value", ["2", "-2.", ".5", "1.5E-3", "1D0", "+ 1.0"])
def test_numbers_as_they_are_written(tmp_path, value):
    path = tmp_path / "scaled.fits"
    hdu = fits.PrimaryHDU(PIXELS.astype("i2"))
    hdu.header["BSCALE"] = 3.0
    hdu.writeto(path)
    give(path, "BSCALE", value)
    open_source(SourceSpec(path)).close()


@pytest.mark.parametrize(
    ("keyword", "value", "why"),
    [
        ("PCOUNT", "99999999999", "truncated"),
        ("PCOUNT", "-1", "PCOUNT is -1"),
        ("GCOUNT", "99999999999", "GCOUNT is 99999999999, must be 1"),
        ("GCOUNT", "0", "GCOUNT is 0, must be 1"),
        ("GCOUNT", "'abc'", "GCOUNT is 'abc'"),
    ],
)
def test_impossible_sizes_of_an_extension(extension, keyword, value, why):
    give(extension, keyword, value)
    assert why in refusal(extension)
    assert why in describe(extension)["images"][1]["reason"]


@pytest.mark.parametrize(
    ("keyword", "value", "why"),
    [
        ("ZNAXIS", "-1", "ZNAXIS is -1"),
        ("ZNAXIS", "999", "no ZNAXIS3"),
        ("ZNAXIS1", "2147483647", "its table has 4 rows"),
        ("ZNAXIS2", "2147483647", "its table has 4 rows"),
        ("ZNAXIS1", "-4", "ZNAXIS1 is -4"),
        ("ZTILE1", "0", "ZTILE1 is 0, must be a whole number from 1"),
        ("ZTILE1", "'abc'", "ZTILE1 is 'abc'"),
        ("ZTILE2", "2147483647", "make 1 tiles, its table has 4 rows"),
        ("ZBITPIX", "7", "ZBITPIX is 7"),
        ("TFIELDS", "2147483647", "TFIELDS is 2147483647, must be a whole number from 0 to 999"),
        ("TFIELDS", "-1", "TFIELDS is -1"),
        ("NAXIS2", "2147483647", "its table has 2147483647 rows"),
        ("ZCMPTYPE", "'NONE'", "NONE"),
    ],
)
def test_impossible_tiles(tiled, keyword, value, why):
    give(tiled, keyword, value)
    assert why in refusal(tiled)


def test_a_tile_that_would_not_fit_into_memory(tiled):
    for keyword in ("ZNAXIS1", "ZTILE1"):
        give(tiled, keyword, "2147483647")
    assert "a compressed tile decodes to" in refusal(tiled)


@pytest.mark.parametrize("fill", [b" ", b"\0"])
def test_a_header_without_end(plain, fill):
    raw = bytearray(plain.read_bytes()[:BLOCK])
    at = raw.index(b"END" + b" " * 77)
    raw[at:] = fill * (BLOCK - at)
    plain.write_bytes(raw)
    assert "its header has no END" in refusal(plain)
    # as large as a disk, without taking any of it
    with plain.open("r+b") as file:
        file.truncate(1 << 40)
    assert f"no END in the first {MOST_BLOCKS * 36} cards" in refusal(plain)


def test_bytes_after_the_last_image_are_not_searched(plain):
    with plain.open("r+b") as file:
        file.truncate(1 << 40)
    assert [image["restorable"] for image in describe(plain)["images"]] == [True]


def test_a_damaged_extension_hides_none_before_it(extension):
    raw = extension.read_bytes()
    at = raw.rindex(b"NAXIS1  =")
    extension.write_bytes(raw[:at] + b"NAXIS1  =                   -3".ljust(80) + raw[at + 80 :])
    first, image, damaged = describe(extension)["images"]
    assert (first["reason"], image["restorable"]) == ("no data", True)
    assert damaged["reason"].startswith("damaged header: NAXIS1 is -3")
    with pytest.raises(SourceError, match="no HDU 3"):
        open_source(SourceSpec(extension, hdu=3))


@pytest.mark.parametrize("value", ["0", "'x'", "1E400"])
def test_an_impossible_scale(tmp_path, value):
    hdu = fits.PrimaryHDU(PIXELS.astype("i2"))
    hdu.header["BSCALE"], hdu.header["BZERO"] = 2.0, 5.0
    hdu.writeto(tmp_path / "a.fits")
    give(tmp_path / "a.fits", "BSCALE", value)
    assert "BSCALE is" in refusal(tmp_path / "a.fits")


def test_spans_are_where_astropy_finds_them(tmp_path, extension, tiled):
    groups = fits.GroupData(
        np.zeros((2, 1, 3, 4), "f4"), parnames=["u"], pardata=[np.zeros(2)], bitpix=-32
    )
    hdus = [fits.GroupsHDU(groups), fits.ImageHDU(PIXELS[:3]), fits.ImageHDU(PIXELS[:, :1])]
    fits.HDUList(hdus).writeto(tmp_path / "groups.fits")
    for path in (extension, tiled, tmp_path / "groups.fits"):
        with fits.open(path, disable_image_compression=True) as there:
            expected = [(hdu.fileinfo()["hdrLoc"], hdu.fileinfo()["datLoc"]) for hdu in there]
        assert [(span.start, span.data) for span in spans(path)] == expected


@pytest.mark.parametrize("junk", [b"\0" * 40, b" " * 20 + b"x", b"\xff\xfe"])
def test_a_card_end_with_something_after_it_ends_its_header(extension, junk):
    """astropy takes the next header for a part of this one, and its pixels would be those of no image."""
    raw = bytearray(extension.read_bytes())
    at = raw.index(b"END" + b" " * 77) + 3
    raw[at : at + len(junk)] = junk
    extension.write_bytes(raw)
    assert [image["shape"] for image in describe(extension)["images"]] == [(), (64, 96), (64, 96)]
    source = open_source(SourceSpec(extension))
    pixels = source.read(Box(0, 64, 0, 96))
    source.close()
    np.testing.assert_array_equal(pixels.values[0], PIXELS)
