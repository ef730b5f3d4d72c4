"""An image with every kind of card."""

import numpy as np
import pytest
from astropy.io import fits


@pytest.fixture
def sky(tmp_path):
    """A uint16 image with every kind of card."""
    rng = np.random.default_rng(1)
    header = fits.Header()
    header["OBJECT"] = ("M 13", "target")
    header["BUNIT"] = "adu"
    header["GAIN"] = (1.5, "e-/adu")
    header["LONGSTR"] = ("long " * 30, "continued")
    header["HIERARCH ESO TEL AIRM"] = (1.25, "airmass")
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRVAL1"], header["CRVAL2"] = 250.42, 36.46
    header["CRPIX1"], header["CRPIX2"] = 40.5, 30.25
    header["CD1_1"], header["CD1_2"] = -2.0e-4, 1.0e-6
    header["CD2_1"], header["CD2_2"] = 1.0e-6, 2.0e-4
    header["DATASEC"] = "[1:90,1:70]"
    header["UNDEF"] = None
    header[""] = "a blank card with text"
    header.add_comment("a comment")
    header.add_history("made for a test")
    header["BLANK"] = 17
    path = tmp_path / "sky.fits"
    fits.PrimaryHDU(rng.integers(100, 60000, (70, 90), dtype="u2"), header).writeto(
        path, output_verify="silentfix", checksum=True
    )
    return path
