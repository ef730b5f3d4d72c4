"""A PSF is read and checked; an image that is not a PSF is refused in one line."""

import numpy as np
import pytest
import tifffile
from astropy.io import fits

from glassplate.pipeline.companions.psf import read_psf
from glassplate.pipeline.errors import SourceError


def gaussian(height=9, width=11, at=(0.0, 0.0), sigma=1.5):
    y, x = np.mgrid[:height, :width]
    r2 = (y - height // 2 - at[0]) ** 2 + (x - width // 2 - at[1]) ** 2
    psf = np.exp(-r2 / 2 / sigma**2)
    return psf / psf.sum()


def put(place, value, psf=None):
    psf = gaussian() if psf is None else psf
    psf[place] = value
    return psf


class TestReads:
    def test_a_fits(self, tmp_path):
        fits.writeto(tmp_path / "psf.fits", gaussian())
        found = read_psf(tmp_path / "psf.fits")
        assert found.warnings == ()
        np.testing.assert_allclose(found.psf.values(), gaussian(), rtol=1e-12)

    def test_a_tiff(self, tmp_path):
        tifffile.imwrite(tmp_path / "psf.tif", gaussian().astype("f4"))
        np.testing.assert_allclose(
            read_psf(tmp_path / "psf.tif").psf.values(), gaussian(), rtol=1e-5
        )

    def test_an_extension(self, tmp_path):
        hdus = [fits.PrimaryHDU(np.ones((20, 30), "f4")), fits.ImageHDU(gaussian(), name="PSF")]
        fits.HDUList(hdus).writeto(tmp_path / "both.fits")
        assert read_psf(tmp_path / "both.fits[PSF]").psf.shape == (9, 11)
        assert read_psf(tmp_path / "both.fits[1]").psf.shape == (9, 11)

    def test_rounding_below_zero_becomes_zero(self, tmp_path):
        fits.writeto(tmp_path / "psf.fits", put((0, 0), -1e-9))
        assert read_psf(tmp_path / "psf.fits").psf.values().min() == 0

    @pytest.mark.parametrize(("factor", "told"), [(1.009, False), (0.98, True), (250, True)])
    def test_a_sum_other_than_one_is_divided_out_with_a_warning(self, tmp_path, factor, told):
        path = tmp_path / "psf.fits"
        fits.writeto(path, factor * gaussian())
        found = read_psf(path)
        np.testing.assert_allclose(found.psf.values(), gaussian(), rtol=1e-12)
        expected = f"psf {path}: its sum is {factor:g}, not 1; it is divided by it"
        assert found.warnings == ((expected,) if told else ())

    def test_integers(self, tmp_path):
        counts = np.rint(1e4 * gaussian()).astype("u2")
        tifffile.imwrite(tmp_path / "psf.tif", counts)
        found = read_psf(tmp_path / "psf.tif")
        np.testing.assert_allclose(found.psf.values(), counts / counts.sum())
        assert len(found.warnings) == 1

    def test_one_pixel(self, tmp_path):
        fits.writeto(tmp_path / "psf.fits", np.ones((1, 1)))
        assert read_psf(tmp_path / "psf.fits").psf.shape == (1, 1)


BAD = [
    (gaussian(8, 11), r"8 x 11 pixels; both sides must be odd, .* onto 9 x 11"),
    (gaussian(9, 64), r"9 x 64 pixels; both sides must be odd, .* onto 9 x 65"),
    (np.stack([gaussian()] * 3), r"shape \(3, 9, 11\) is not two-dimensional; take one plane"),
    (gaussian(1025, 3), r"1025 x 3 pixels, at most 1023 along a side"),
    (put((2, 3), np.nan), r"1 of 99 pixels are NaN or BLANK; set them to 0"),
    (put((2, 3), np.inf), r"1 of 99 pixels are NaN or BLANK; set them to 0"),
    (put((2, 3), -0.01), r"its least value -0.01 is negative \(peak 0\.0\d+\); subtract"),
    (np.zeros((5, 5)), r"its sum is 0, must be positive"),
    (-gaussian(), r"negative"),
    (gaussian(at=(0.7, 0)), r"centroid lies \+0\.\d\d rows and [+-]0\.00 columns from the middle"),
    (gaussian(at=(0, -2)), r"centroid lies .* -\d\.\d+ columns from the middle pixel \(4, 5\)"),
]


@pytest.mark.parametrize(("values", "message"), BAD)
def test_an_image_that_is_not_a_psf_is_refused(tmp_path, values, message):
    fits.writeto(tmp_path / "psf.fits", values)
    with pytest.raises(SourceError, match=rf"^psf .*psf\.fits: .*{message}") as error:
        read_psf(tmp_path / "psf.fits")
    assert "\n" not in str(error.value)


def test_a_missing_file_or_one_without_an_image_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"^psf .*no\.fits: no such file"):
        read_psf(tmp_path / "no.fits")
    (tmp_path / "psf.txt").write_text("1 2 1")
    with pytest.raises(SourceError, match=r"^psf .*psf\.txt: is no FITS, TIFF, PNG or JPEG"):
        read_psf(tmp_path / "psf.txt")
    fits.writeto(tmp_path / "psf.fits", gaussian())
    with pytest.raises(SourceError, match="no HDU"):
        read_psf(tmp_path / "psf.fits[PSF]")
    colours = np.ones((5, 5, 3), "u1")
    tifffile.imwrite(tmp_path / "psf.tif", colours, photometric="rgb")
    with pytest.raises(SourceError, match=r"shape \(3, 5, 5\) is not two-dimensional"):
        read_psf(tmp_path / "psf.tif")
