"""ASDF files as Roman and JWST have them."""

import sys
from contextlib import suppress

import numpy as np
import pytest
from astropy import coordinates, units
from astropy.io import fits
from astropy.modeling import models
from astropy.wcs import WCS
from runs import COPY, level0, request

from glassplate.pipeline.errors import GlassplateError, SourceError, UsageError
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.open_image import open_image
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

asdf = pytest.importorskip("asdf", reason="the extra asdf is not installed")
gwcs = pytest.importorskip("gwcs", reason="the extra asdf is not installed")

from webb_roman import DQ, PIXELS, make_wcs, tree  # noqa: E402, imports asdf


def write(path, content, **options):
    asdf.AsdfFile(content).write_to(path, **options)
    return path


def read(path, **spec):
    source = open_image(SourceSpec(path, **spec))
    try:
        _, height, width = source.shape
        return source, source.read(Box(0, height, 0, width))
    finally:
        source.close()


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("data", [PIXELS, PIXELS * units.Unit("DN/s")])
def test_pixels_and_their_quality(tmp_path, compression, data):
    path = write(tmp_path / "a.asdf", tree(data), all_array_compression=compression)
    source, pixels = read(path)
    np.testing.assert_array_equal(pixels.valid[0], DQ != 1)
    np.testing.assert_array_equal(pixels.values[0], PIXELS)
    assert source.unit == (None if data is PIXELS else "DN / s")
    assert source.info.name == "roman.data"


def test_it_is_described(tmp_path):
    found = describe(write(tmp_path / "a.asdf", tree()))
    assert found["format"] == "asdf"
    names = [image["name"] for image in found["images"]]
    assert names == ["roman.data", "roman.dq", "roman.err"]


def test_it_is_restored_with_the_place_on_the_sky(tmp_path):
    wcs = make_wcs()
    path = write(tmp_path / "a.asdf", tree(PIXELS * units.Unit("DN/s"), wcs=wcs))
    target = tmp_path / "out.fits"
    restore(request(path, tmp_path / "a.zarr", COPY, export=target), InlinePool())
    expected = np.where(DQ == 1, np.nan, PIXELS)
    np.testing.assert_array_equal(level0(tmp_path / "a.zarr"), expected)
    header = fits.getheader(target)
    assert (header["TELESCOP"], header["FILTER"], header["EXPTIME"]) == ("ROMAN", "F158", 139.8)
    assert header["BUNIT"] == "DN / s"
    for x, y in ((0, 0), (69, 49), (12.5, 33.0)):
        there = coordinates.SkyCoord(*wcs(x, y), unit="deg")
        assert WCS(header).pixel_to_world(x, y).separation(there).arcsec < 0.11 * 0.01


def test_all_of_its_meta_is_kept(tmp_path):
    source, _ = read(write(tmp_path / "a.asdf", tree(wcs=make_wcs())))
    kept = source.metadata["asdf"]
    assert kept["array"] == "roman.data"
    assert kept["meta"]["instrument"]["detector"] == "WFI01"
    assert kept["meta"]["history"] == [1, "two", None]
    assert kept["meta"]["exposure"]["start_time"].startswith("2027-01-01")
    assert "wcs" not in kept["meta"]


def test_a_wcs_that_is_no_image_of_the_sky_is_left_out_with_a_warning(tmp_path):
    frames = gwcs.coordinate_frames
    detector = frames.Frame2D(name="detector", axes_order=(0, 1), unit=(units.pix, units.pix))
    other = frames.Frame2D(name="focal", axes_order=(0, 1), unit=(units.mm, units.mm))
    wcs = gwcs.WCS([(detector, models.Scale(2) & models.Scale(2)), (other, None)])
    source, _ = read(write(tmp_path / "a.asdf", tree(wcs=wcs)))
    assert "CTYPE1" not in source.metadata["fits"]["header"]
    (warning,) = source.metadata["fits"]["warnings"]
    assert "its GWCS cannot be written as FITS" in warning


def test_images_are_named_by_place_or_number(tmp_path):
    path = write(tmp_path / "a.asdf", {"one": {"two": PIXELS[:20].astype("f8")}, "sci": PIXELS})
    assert read(path)[0].shape == (1, 50, 70)
    for name in ("one.two", 0):
        assert read(path, hdu=name)[0].shape == (1, 20, 70)
    with pytest.raises(SourceError, match=r"no image three; there are one\.two, sci"):
        read(path, hdu="three")
    with pytest.raises(UsageError, match="use --hdu"):
        read(path, page=1)


def test_what_is_no_image_is_refused(tmp_path):
    path = write(tmp_path / "a.asdf", {"line": np.zeros(9), "ramps": np.zeros((2, 2, 5, 6))})
    with pytest.raises(SourceError, match="no image to restore"):
        read(path)
    with pytest.raises(SourceError, match=r"ramps: an array of float64 of shape \(2, 2, 5, 6\)"):
        read(path, hdu="ramps")


def test_without_the_packages_it_says_what_to_install(tmp_path, monkeypatch):
    path = write(tmp_path / "a.asdf", tree())
    monkeypatch.setitem(sys.modules, "gwcs", None)
    for step in (describe, read):
        with pytest.raises(SourceError, match=r"pip install 'glassplate\[asdf\]'"):
            step(path)


@pytest.mark.filterwarnings("ignore")  # asdf warns of what is damaged
def test_damaged_files_are_read_or_refused(tmp_path):
    path = write(tmp_path / "a.asdf", tree(wcs=make_wcs()))
    whole = path.read_bytes()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        raw = bytearray(whole)
        for at in rng.integers(8, 9000, 6):
            raw[at] = rng.integers(256)
        path.write_bytes(raw[: rng.integers(9, len(raw))] if seed % 5 == 0 else raw)
        for step in (describe, read):
            with suppress(GlassplateError):
                step(path)
