"""An exported FITS file has the cards of the input and the pixels of the result."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from exported import RUN, make_store, restored

from glassplate.pipeline.export.export import export
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.sources.source import SourceSpec

ADDED = {
    "GPVERS", "GPRUNID", "GPRECIPE", "GPSCALE", "GPLEVEL", "GPSOURCE", "GPSHA256",
    "CHECKSUM", "DATASUM",
}  # fmt: skip


def _metadata(path):
    source = open_source(SourceSpec(path))
    source.close()
    return source.metadata


class TestFits:
    def test_all_cards_are_identical_except_those_that_history_names(self, sky, tmp_path):
        store, _ = restored(tmp_path, sky)
        out = export(store, tmp_path / "out.fits")
        encoding = {"BITPIX", "BZERO", "BSCALE", "BLANK", "CHECKSUM", "DATASUM"}
        before = [str(c) for c in fits.getheader(sky).cards if c.keyword not in encoding]
        after = [str(c) for c in fits.getheader(out).cards if c.keyword not in ADDED | {"BITPIX"}]
        assert after[: len(before)] == before
        assert all(card.startswith("HISTORY") for card in after[len(before) :])
        assert len(after) > len(before)

    def test_added_cards_name_the_run(self, sky, tmp_path):
        store, _ = restored(tmp_path, sky)
        header = fits.getheader(export(store, tmp_path / "out.fits"))
        assert header["GPRUNID"] == RUN["run_id"]
        assert header["GPRECIPE"] == "draft"
        assert header["GPSOURCE"] == "sky.fits"
        assert header["BITPIX"] == -32
        assert not {"BZERO", "BSCALE", "BLANK"} & set(header)
        assert any("GAIN describe" in line for line in header["HISTORY"])

    def test_pixels_and_checksums_are_right(self, sky, tmp_path):
        store, values = restored(tmp_path, sky)
        out = export(store, tmp_path / "out.fits")
        # a wrong CHECKSUM or DATASUM is a warning, and warnings are errors here
        with fits.open(out, checksum=True) as hdus:
            np.testing.assert_array_equal(hdus[0].data, values)
            hdus.verify("exception")
            assert hdus[0].verify_checksum() == 1
            assert hdus[0].verify_datasum() == 1
        assert out.stat().st_size % 2880 == 0

    @pytest.mark.slow
    @pytest.mark.parametrize(("scale", "level"), [(2, 0), (4, 0), (1, 1), (4, 1), (2, 3)])
    def test_wcs_follows_the_pixels(self, sky, tmp_path, scale, level):
        store = make_store(
            tmp_path,
            np.zeros((70 * scale, 90 * scale), "f4"),
            _metadata(sky),
            levels=4,
            scale=scale,
        )
        header = fits.getheader(export(store, tmp_path / "out.fits", level))
        y, x = np.mgrid[0:70:9, 0:90:9]
        world = WCS(fits.getheader(sky)).pixel_to_world_values(x, y)
        there = WCS(header).world_to_pixel_values(*world)
        factor = scale / 2**level
        np.testing.assert_allclose(there[0], factor * (x + 0.5) - 0.5, atol=1e-6)
        np.testing.assert_allclose(there[1], factor * (y + 0.5) - 0.5, atol=1e-6)
        assert ("DATASEC" in header) == (factor >= 1)
        assert header["NAXIS1"] == -(-90 * scale // 2**level)

    def test_numbers_that_cannot_be_scaled_stay(self, tmp_path):
        """Each of these ended in an OverflowError or in a card that is no FITS."""
        path = tmp_path / "odd.fits"
        fits.writeto(path, np.zeros((4, 4), "f4"))
        raw = path.read_bytes()
        end = b"END".ljust(80)
        at = raw.index(end)
        odd = b"".join(
            card.ljust(80)
            for card in (
                b"CTYPE1  = 'RA---TAN'",
                b"CRPIX1  = 12,5",
                b"IMAGEH  = 1.7E308",
                b"CD2_2   = 1E999",
                b"LTV1    = 'abc'",
                b"A_999_99= 3",
            )
        )
        path.write_bytes(raw[:at] + odd + end + raw[at + len(odd) + 80 :])
        store, _ = restored(tmp_path, path, scale=4)
        header = export(store, tmp_path / "out.fits").read_bytes()[:5760]
        for start in range(0, len(odd), 80):
            assert odd[start : start + 80] in header

    def test_cards_about_compression_are_left_out(self, tmp_path):
        data = np.arange(64 * 64, dtype="i2").reshape(64, 64)
        fits.CompImageHDU(data, compression_type="RICE_1").writeto(tmp_path / "c.fits")
        store, values = restored(tmp_path, tmp_path / "c.fits")
        out = export(store, tmp_path / "out.fits")
        header = fits.getheader(out, 1)
        assert not [key for key in header if key.startswith("Z")]
        np.testing.assert_array_equal(fits.getdata(out), values)

    @pytest.mark.parametrize("shape", [(1, 1, 6, 7), (1, 5, 6, 7), (5, 6, 7), (1, 6, 7)])
    def test_axes_of_length_one_are_kept(self, tmp_path, shape):
        data = np.random.default_rng(0).normal(size=shape).astype("f4")
        fits.writeto(tmp_path / "cube.fits", data)
        store, _ = restored(tmp_path, tmp_path / "cube.fits")
        np.testing.assert_array_equal(fits.getdata(export(store, tmp_path / "out.fits")), data)

    def test_cards_that_violate_the_standard_are_copied(self, tmp_path):
        path = tmp_path / "odd.fits"
        fits.writeto(path, np.zeros((4, 4), "f4"))
        raw = path.read_bytes()
        end = raw.index(b"END" + b" " * 77)
        odd = b"BADCARD this has no value indicator".ljust(80) + b"lower   = 1.0d5".ljust(80)
        path.write_bytes(raw[:end] + odd + raw[end : 2880 - len(odd)] + raw[2880:])
        store, _ = restored(tmp_path, path)
        assert odd in export(store, tmp_path / "out.fits").read_bytes()

    def test_integer_and_colour_results_are_written(self, tmp_path):
        pixels = np.random.default_rng(0).integers(0, 2**31, (3, 40, 50), dtype="u4")
        store = make_store(tmp_path, pixels, {"tiff": {}})
        data = fits.getdata(export(store, tmp_path / "out.fits"))
        assert data.dtype == ">f8"
        # rows of FITS are counted from the bottom
        np.testing.assert_array_equal(data, pixels[:, ::-1])

    def test_flux_factor_and_partial_runs_are_stated(self, sky, tmp_path):
        store = make_store(
            tmp_path,
            np.zeros((140, 180), "f4"),
            _metadata(sky),
            scale=2,
            flux_factor=0.25,
            status="partial",
        )
        history = " ".join(fits.getheader(export(store, tmp_path / "out.fits"))["HISTORY"])
        assert "multiplied by 0.25" in history
        assert "partial" in history
