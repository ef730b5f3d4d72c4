"""An exported FITS file is the file that was restored, with other pixels in its restored HDUs."""

import gzip
import shutil

import numpy as np
import pytest
import zarr
from astropy.io import fits
from astropy.utils.data import get_pkg_data_filename
from astropy.wcs import WCS
from exported import add_removed, restored

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.export.export import export
from glassplate.pipeline.export.fits.plane_names import PlaneName
from glassplate.pipeline.export.own_files import is_export
from glassplate.pipeline.sources.fits.scan import spans


def _wcs(header, scale=1):
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRVAL1"], header["CRVAL2"] = 83.6, 22.0
    header["CRPIX1"], header["CRPIX2"] = 10.5, 8.25
    header["CD1_1"], header["CD2_2"] = -1e-4 / scale, 1e-4 / scale


@pytest.fixture
def mosaic(tmp_path):
    """Two chips with their noise and quality planes, a table, a cube and cards of every kind."""
    rng = np.random.default_rng(3)
    primary = fits.PrimaryHDU()
    primary.header["TELESCOP"] = ("HST", "of the file")
    primary.header["FILTER"], primary.header["EXPTIME"] = "F606W", 350.0
    primary.header["DATE-OBS"] = "2024-05-06"
    primary.header["HIERARCH ESO TEL AIRM START"] = (1.25, "airmass")
    primary.header["INDXADDR"], primary.header["JSONADDR"] = 123456, 234567
    primary.header["NEXTEND"] = 7
    hdus = [primary]
    for version in (1, 2):
        science = fits.ImageHDU(rng.normal(100, 5, (20, 24)).astype("f4"), name="SCI", ver=version)
        _wcs(science.header)
        science.header["BUNIT"], science.header["DATAMAX"] = "electrons", 130.0
        science.header["HIERARCH LSST DETECTOR NAME"] = f"R{version}"
        hdus.append(science)
        hdus.append(fits.ImageHDU(np.full((20, 24), 5, "f4"), name="ERR", ver=version))
        hdus.append(fits.ImageHDU(np.zeros((20, 24), "i2"), name="DQ", ver=version))
    column = fits.Column("flux", "E", array=np.arange(5, dtype="f4"))
    hdus.append(fits.BinTableHDU.from_columns([column], name="CATALOG"))
    path = tmp_path / "mosaic.fits"
    fits.HDUList(hdus).writeto(path, checksum=True)
    return path


def raw_hdus(path):
    """The bytes of each HDU without the padding of its data."""
    raw = path.read_bytes()
    return [raw[span.start : span.end] for span in spans(path)]


@pytest.mark.parametrize("earlier", [False, True])
def test_the_other_hdus_are_the_same_bytes(mosaic, tmp_path, earlier):
    store, values = restored(tmp_path, mosaic, hdu="SCI,2")
    if earlier:  # a result that was made before the number of HDUs was recorded
        group = zarr.open_group(store)
        group.attrs["fits"] = {k: v for k, v in group.attrs["fits"].items() if k != "hdus"}
    out = export(store, tmp_path / "out.fits")
    before, after = raw_hdus(mosaic), raw_hdus(out)
    assert len(before) == len(after) == 8
    assert [n for n in range(8) if before[n] != after[n]] == [0, 4]
    # a wrong checksum is a warning, and warnings are errors here
    with fits.open(out, checksum=True) as hdus:
        hdus.verify("exception")
        assert hdus["SCI", 2].header["GPRUNID"] == hdus[0].header["GPRUNID"]
        np.testing.assert_array_equal(hdus["SCI", 2].data, values)
        assert "GPRUNID" not in hdus["SCI", 1].header


def test_the_primary_header_keeps_its_cards_and_names_the_restored_hdu(mosaic, tmp_path):
    store, _ = restored(tmp_path, mosaic, hdu="SCI,2")
    header = fits.getheader(export(store, tmp_path / "out.fits"))
    for card in fits.getheader(mosaic).cards:
        if card.keyword not in ("INDXADDR", "JSONADDR", "CHECKSUM", "DATASUM"):
            assert str(card) in [str(one) for one in header.cards]
    assert not {"INDXADDR", "JSONADDR"} & set(header)
    said = " ".join(header["HISTORY"])
    assert "restored HDU 4 SCI of mosaic.fits" in said
    assert "INDXADDR, JSONADDR left out: they are places of bytes" in said
    assert is_export(tmp_path / "out.fits")


def test_several_results_become_one_file(mosaic, tmp_path):
    first, one = restored(tmp_path, mosaic, hdu=1, name="1.zarr")
    second, two = restored(tmp_path, mosaic, hdu=4, name="2.zarr")
    out = export([second, first], tmp_path / "out.fits")
    with fits.open(out, checksum=True) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", *["SCI", "ERR", "DQ"] * 2, "CATALOG"]
        np.testing.assert_array_equal(hdus[1].data, one)
        np.testing.assert_array_equal(hdus[4].data, two)
        assert "HDU 1 SCI, 4 SCI of mosaic.fits" in " ".join(hdus[0].header["HISTORY"])
    with pytest.raises(UsageError, match="HDU 1 is given by two results"):
        export([first, first], tmp_path / "two.fits")
    with pytest.raises(UsageError, match="several results go into a FITS file only"):
        export([first, second], tmp_path / "two.tif")


def test_results_of_different_files_are_refused(mosaic, sky, tmp_path):
    first, _ = restored(tmp_path, mosaic, hdu=1, name="1.zarr")
    second, _ = restored(tmp_path, sky, name="2.zarr")
    with pytest.raises(UsageError, match="are not the same input"):
        export([first, second], tmp_path / "out.fits")


def test_a_packed_input_is_carried_over(mosaic, tmp_path, monkeypatch):
    monkeypatch.setenv("GLASSPLATE_SCRATCH", str(tmp_path / "scratch"))
    packed = tmp_path / "packed.fits.gz"
    packed.write_bytes(gzip.compress(mosaic.read_bytes()))
    store, _ = restored(tmp_path, packed, hdu=1)
    assert raw_hdus(export(store, tmp_path / "out.fits"))[2:] == raw_hdus(mosaic)[2:]


@pytest.mark.parametrize("fate", ["removed", "changed"])
def test_without_the_input_the_image_keeps_its_place_and_history_says_why(mosaic, tmp_path, fate):
    store, values = restored(tmp_path, mosaic, hdu="SCI,2")
    if fate == "removed":
        mosaic.unlink()
    else:
        fits.setval(mosaic, "OBJECT", value="another")
    events = []
    out = export(store, tmp_path / "out.fits", listener=events.append)
    with fits.open(out, checksum=True) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI"]
        assert (hdus[1].header["EXTVER"], hdus[0].header["TELESCOP"]) == (2, "HST")
        np.testing.assert_array_equal(hdus[1].data, values)
        said = " ".join(hdus[0].header["HISTORY"])
    why = "is not where it was" if fate == "removed" else "has changed since"
    assert f"the other 7 HDUs of the input are left out: mosaic.fits {why}" in said
    assert [why in event.message for event in events] == [True]


def test_a_truncated_hdu_is_left_out_by_name(mosaic, tmp_path):
    mosaic.write_bytes(mosaic.read_bytes()[:-2880])
    store, _ = restored(tmp_path, mosaic, hdu=1)
    with fits.open(export(store, tmp_path / "out.fits")) as hdus:
        assert len(hdus) == 7
        said = " ".join(hdus[0].header["HISTORY"])
    assert "HDU 7 of the input is left out: the file is truncated" in said


def test_a_primary_image_that_is_not_restored_keeps_its_pixels(tmp_path):
    path = tmp_path / "both.fits"
    image = np.arange(30, dtype="i2").reshape(5, 6)
    fits.HDUList([fits.PrimaryHDU(image), fits.ImageHDU(image.astype("f4"))]).writeto(path)
    store, _ = restored(tmp_path, path, hdu=1)
    with fits.open(export(store, tmp_path / "out.fits"), checksum=True) as hdus:
        assert hdus[0].header["BITPIX"] == 16
        np.testing.assert_array_equal(hdus[0].data, image)


def test_a_primary_image_that_is_restored_keeps_the_extensions(tmp_path):
    path = tmp_path / "both.fits"
    image = np.arange(30, dtype="i2").reshape(5, 6)
    fits.HDUList([fits.PrimaryHDU(image), fits.ImageHDU(image, name="MASK")]).writeto(path)
    store, _ = restored(tmp_path, path, scale=2)
    with fits.open(export(store, tmp_path / "out.fits"), checksum=True) as hdus:
        assert (hdus[0].data.shape, hdus[1].data.shape) == ((10, 12), (5, 6))
        said = " ".join(hdus[0].header["HISTORY"])
    assert "HDUs that were not restored are on the pixel grid of the input" in said


def test_left_out_cards_are_named_with_the_reason(mosaic, tmp_path):
    store, _ = restored(tmp_path, mosaic, hdu=1)
    header = fits.getheader(export(store, tmp_path / "out.fits"), 1)
    assert header["LSST DETECTOR NAME"] == "R1"
    said = " ".join(header["HISTORY"])
    assert "DATAMAX left out: they are the extrema of the input's pixels" in said


def test_a_compressed_image_keeps_its_place(tmp_path):
    path = tmp_path / "c.fits"
    data = np.arange(64 * 64, dtype="i2").reshape(64, 64)
    table = fits.BinTableHDU.from_columns([fits.Column("n", "J", array=[1, 2])])
    compressed = fits.CompImageHDU(data, compression_type="RICE_1", name="CHIP")
    fits.HDUList([fits.PrimaryHDU(), compressed, table]).writeto(path)
    store, values = restored(tmp_path, path)
    with fits.open(export(store, tmp_path / "out.fits"), checksum=True) as hdus:
        assert hdus[1].name == "CHIP"
        assert not [key for key in hdus[1].header if key.startswith("Z")]
        np.testing.assert_array_equal(hdus[1].data, values)
        np.testing.assert_array_equal(hdus[2].data["n"], [1, 2])


@pytest.mark.parametrize("scale", [2, 4])
def test_lookup_tables_follow_the_pixels(tmp_path, scale):
    """SIP, two tables of shifts and one of the detector, as HST's ACS has them."""
    path = tmp_path / "acs.fits"
    name = get_pkg_data_filename("data/dist_lookup.fits.gz", package="astropy.wcs.tests")
    with gzip.open(name) as packed, path.open("wb") as plain:
        shutil.copyfileobj(packed, plain)
    store, _ = restored(tmp_path, path, hdu="SCI", scale=scale)
    out = export(store, tmp_path / "out.fits")
    with fits.open(path) as old, fits.open(out, checksum=True) as new:
        before, after = WCS(old["SCI"].header, old), WCS(new["SCI"].header, new)
        assert after.cpdis1 is not None
        assert after.det2im1 is not None or after.det2im2 is not None
        assert raw_hdus(out)[2 : len(old)] == raw_hdus(path)[2:]
        height, width = old["SCI"].data.shape
    y, x = np.mgrid[0 : height : height // 7, 0 : width : width // 7].reshape(2, -1)
    there = after.all_pix2world(scale * (x + 0.5) - 0.5, scale * (y + 0.5) - 0.5, 0)
    np.testing.assert_allclose(there, before.all_pix2world(x, y, 0), rtol=0, atol=1e-11)


def test_arrays_of_chips_that_differ_by_name_alone_are_told_apart(tmp_path):
    path = tmp_path / "chips.fits"
    chips = [fits.ImageHDU(np.ones((5, 6), "f4"), name=name) for name in ("N14", "N15")]
    fits.HDUList([fits.PrimaryHDU(), *chips]).writeto(path)
    stores = []
    for hdu in (1, 2):
        store, values = restored(tmp_path, path, hdu=hdu, name=f"{hdu}.zarr")
        add_removed(store, "denoise", residual=np.zeros_like(values))
        stores.append(store)
    out = export(stores, tmp_path / "out.fits", add=(PlaneName.RESIDUAL,))
    with fits.open(out) as hdus:
        assert [(hdu.name, hdu.ver) for hdu in hdus[-2:]] == [("RESIDUAL", 1), ("RESIDUAL", 2)]
        assert "of HDU 2 N15" in hdus["RESIDUAL", 2].header["COMMENT"]


@pytest.mark.parametrize(("scale", "kept"), [(1, True), (2, False)])
def test_a_file_that_lacks_its_lookup_tables(tmp_path, scale, kept):
    path = tmp_path / "alone.fits"
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CPDIS1": "LOOKUP"})
    header.append(fits.Card.fromstring("DP1     = 'EXTVER: 1.0'"))
    fits.writeto(path, np.ones((5, 6), "f4"), header)
    store, _ = restored(tmp_path, path, scale=scale)
    header = fits.getheader(export(store, tmp_path / "out.fits"))
    assert ("CPDIS1" in header) == kept
    said = " ".join(header.get("HISTORY", ()))
    assert ("left out: the input has no such tables (CPDIS1, DP1)" in said) != kept


def test_arrays_of_the_result_become_extensions(mosaic, tmp_path):
    store, values = restored(tmp_path, mosaic, hdu="SCI,2", scale=2)
    footprint = np.ones(values.shape, "f4")
    residual = np.zeros((20, 24), "f4")
    add_removed(store, "denoise", residual=residual, footprint=footprint)
    out = export(store, tmp_path / "out.fits", add=(PlaneName.RESIDUAL, PlaneName.FOOTPRINT))
    with fits.open(out, checksum=True) as hdus:
        hdus.verify("exception")
        assert [hdu.name for hdu in hdus[-2:]] == ["RESIDUAL", "FOOTPRINT"]
        assert hdus[0].header["NEXTEND"] == 9
        assert hdus["RESIDUAL", 2].header["BUNIT"] == "electrons"
        positions = [
            WCS(hdus[name, 2].header).pixel_to_world_values(*where)
            for name, where in (
                ("RESIDUAL", (3, 4)),
                ("FOOTPRINT", (6.5, 8.5)),
                ("SCI", (6.5, 8.5)),
            )
        ]
        np.testing.assert_allclose(positions[1:], positions[:1] * 2, rtol=0, atol=1e-11)
    with pytest.raises(UsageError, match=r"--add uncertainty: .* holds no such array"):
        export(store, tmp_path / "out.fits", add=(PlaneName.UNCERTAINTY,))
    with pytest.raises(UsageError, match="--add residual is for FITS only"):
        export(store, tmp_path / "out.tif", add=(PlaneName.RESIDUAL,))
