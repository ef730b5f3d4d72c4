"""Which images a list or a pattern of HDUs means."""

import numpy as np
import pytest
import tifffile
from astropy.io import fits

from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.sources.fits.chosen_hdus import chosen_hdus, means_several


@pytest.fixture
def mosaic(tmp_path):
    pixels = np.ones((4, 5), "f4")
    planes = [fits.ImageHDU(pixels, name=n, ver=v) for v in (1, 2) for n in ("SCI", "ERR", "DQ")]
    planes.append(fits.ImageHDU(pixels, name="VAR_POISSON"))
    planes.append(fits.ImageHDU(pixels, name="CHIP"))
    planes.append(fits.ImageHDU(pixels))
    planes.append(fits.BinTableHDU.from_columns([fits.Column("x", "E", array=[1.0])], name="SCI_T"))
    fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(tmp_path / "m.fits")
    return tmp_path / "m.fits"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("all", ["SCI,1", "SCI,2", "CHIP", 9]),
        ("SCI,*", ["SCI,1", "SCI,2"]),
        ("sci", ["SCI,1"]),
        ("S*", ["SCI,1", "SCI,2"]),
        ("*,2", ["SCI,2", "ERR,2", "DQ,2"]),
        ("DQ,?", ["DQ,1", "DQ,2"]),
        (["SCI,2", 1], ["SCI,1", "SCI,2"]),
        ([4, "SCI,*", "4"], ["SCI,1", "SCI,2"]),
        (["CHIP"], ["CHIP"]),
        ("9", [9]),
    ],
)
def test_each_image_that_is_meant_in_the_order_of_the_file(mosaic, wanted, expected):
    assert chosen_hdus(mosaic, wanted) == expected


def test_names_that_repeat_become_numbers(tmp_path):
    twice = [fits.ImageHDU(np.ones((4, 5)), name="SCI") for _ in range(2)]
    fits.HDUList([fits.PrimaryHDU(), *twice]).writeto(tmp_path / "m.fits")
    assert chosen_hdus(tmp_path / "m.fits", "all") == [1, 2]


@pytest.mark.parametrize("wanted", ["AMP*", ["SCI,7"], [0], "SCI_T"])
def test_what_is_not_there_is_refused_with_what_is(mosaic, wanted):
    with pytest.raises(SourceError, match=r"m\.fits: no image .*; there are SCI,1, ERR,1"):
        chosen_hdus(mosaic, wanted)


def test_other_formats_have_none(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((4, 4), "u1"))
    with pytest.raises(UsageError, match="hdu all is for FITS, this is TIFF; drop it"):
        chosen_hdus(tmp_path / "a.tif", "all")


@pytest.mark.parametrize(
    ("wanted", "several"),
    [(None, False), (3, False), ("SCI,2", False), ("ALL", True), ("S?I", True), (("SCI",), True)],
)
def test_only_lists_and_patterns_mean_several(wanted, several):
    assert means_several(wanted) == several
