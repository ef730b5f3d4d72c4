"""Every form of WCS gives the same sky positions on another grid."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from headers import scaled_header
from hypothesis import given
from hypothesis import strategies as st

from glassplate.pipeline.export.fits.wcs_check import wcs_disagreement

SHAPE = {"NAXIS": 2, "NAXIS1": 200, "NAXIS2": 150}
TAN = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 250.42, "CRVAL2": 36.46,
    "CRPIX1": 90.3, "CRPIX2": 60.7,
}  # fmt: skip
CD = {"CD1_1": -2e-4, "CD1_2": 3e-5, "CD2_1": 2e-5, "CD2_2": 2e-4}
SIP = {
    **TAN, **CD, "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP",
    "A_ORDER": 3, "B_ORDER": 2, "A_2_0": 1e-5, "A_1_1": -3e-6, "A_0_3": 2e-8, "A_3_0": 1e-8,
    "B_0_2": 2e-5, "B_1_1": 1e-6, "AP_ORDER": 2, "BP_ORDER": 2, "AP_1_0": 1e-4, "AP_2_0": -1e-5,
    "BP_0_1": 1e-4, "A_DMAX": 0.3, "B_DMAX": 0.2,
}  # fmt: skip

FORMS = {
    "cd": {**TAN, **CD},
    "cdelt": {**TAN, "CDELT1": -2e-4, "CDELT2": 2e-4},
    "cdelt and crota": {**TAN, "CDELT1": -2e-4, "CDELT2": 2e-4, "CROTA2": 30.0},
    "pc": {
        **TAN,
        "CDELT1": -2e-4,
        "CDELT2": 2e-4,
        "PC1_1": 0.8,
        "PC1_2": -0.6,
        "PC2_1": 0.6,
        "PC2_2": 0.8,
    },
    "pc alone": {**TAN, "PC1_1": -2e-4, "PC2_2": 2e-4},
    "half a pc": {**TAN, "PC1_2": 0.1},
    "cd and pc": {**TAN, **CD, "CDELT1": 1.0, "CDELT2": 1.0, "PC1_1": -2e-4, "PC2_2": 2e-4},
    "default deltas": TAN,
    "default crpix": {k: v for k, v in TAN.items() if not k.startswith("CRPIX")} | CD,
    "sip": SIP,
    "tpv": {
        **TAN,
        **CD,
        "CTYPE1": "RA---TPV",
        "CTYPE2": "DEC--TPV",
        "PV1_1": 1.0,
        "PV1_4": 0.01,
        "PV2_1": 1.0,
    },
    "car": {
        **TAN,
        "CTYPE1": "GLON-CAR",
        "CTYPE2": "GLAT-CAR",
        "CRVAL2": 0.0,
        "CDELT1": -0.01,
        "CDELT2": 0.01,
    },
    "linear": {
        "CTYPE1": "LINEAR",
        "CTYPE2": "LINEAR",
        "CRPIX1": 1.0,
        "CRPIX2": 1.0,
        "CDELT1": 5.0,
        "CDELT2": 7.0,
    },
    "long slit": {
        "CTYPE1": "WAVE",
        "CTYPE2": "LINEAR",
        "CUNIT1": "m",
        "CRPIX1": 10.0,
        "CRVAL1": 5e-7,
        "CDELT1": 1e-9,
        "CDELT2": 2.0,
    },
    "a cube that is turned": {
        **TAN,
        "NAXIS": 3,
        "NAXIS3": 5,
        "CTYPE3": "FREQ",
        "CRVAL3": 1e9,
        "CDELT1": -2e-4,
        "CDELT2": 2e-4,
        "CDELT3": 1e6,
        "PC1_1": 1.0,
        "PC1_3": 0.1,
        "PC3_1": 0.01,
        "PC2_2": 1.0,
        "PC3_3": 1.0,
    },
}


def header_of(cards):
    header = fits.Header()
    for key, value in (SHAPE | cards).items():
        header[key] = value
    return header


def sky(header, x, y, key=" "):
    wcs = WCS(header, key=key)
    points = np.zeros((x.size, wcs.naxis))
    points[:, 0], points[:, 1] = x.ravel(), y.ravel()
    return wcs.all_pix2world(points, 0)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2, 4, 0.5, 3])
@pytest.mark.parametrize("form", FORMS)
def test_every_pixel_keeps_its_sky_position(form, scale):
    before = header_of(FORMS[form])
    after = scaled_header(before, scale)
    y, x = np.mgrid[0:150:11, 0:200:11]
    there = sky(after, scale * (x + 0.5) - 0.5, scale * (y + 0.5) - 0.5)
    np.testing.assert_allclose(there, sky(before, x, y), rtol=1e-12, atol=1e-11)
    assert wcs_disagreement(before, after, scale) < 1e-6


@pytest.mark.parametrize("form", FORMS)
def test_an_unscaled_wcs_is_detected(form):
    before = header_of(FORMS[form])
    assert wcs_disagreement(before, before, 2) > 1


@pytest.mark.slow
@given(scale=st.sampled_from([2, 4, 8]), place=st.floats(-1e4, 1e4))
def test_scaling_back_gives_the_same_header(scale, place):
    before = header_of({**FORMS["sip"], "CRPIX1": place, "LTV1": 5.0, "LTM1_1": 0.5, "IMAGEW": 200})
    back = scaled_header(scaled_header(before, scale), 1 / scale)
    for key, value in before.items():
        assert back[key] == (
            pytest.approx(value, rel=1e-9, abs=1e-7) if isinstance(value, float) else value
        )


def test_alternate_wcs_are_scaled():
    cards = {
        **FORMS["cd"],
        "WCSNAMEP": "physical",
        "CTYPE1P": "X",
        "CTYPE2P": "Y",
        "CRPIX1P": 1.0,
        "CRPIX2P": 1.0,
    }
    cards |= {"CDELT1P": 2.0, "CDELT2P": 2.0, "CRVAL1P": 33.0, "CRVAL2P": 44.0}
    before = header_of(cards)
    after = scaled_header(before, 2)
    x, y = np.array([0.0, 17.0]), np.array([3.0, 80.0])
    np.testing.assert_allclose(sky(after, 2 * x + 0.5, 2 * y + 0.5, "P"), sky(before, x, y, "P"))


def test_pixel_sizes_and_detector_coordinates_are_scaled():
    before = header_of(
        {
            "PIXAR_SR": 4e-14,
            "PIXSCALE": 0.26,
            "IMAGEW": 200,
            "IMAGEH": 150,
            "LTV1": -100.0,
            "LTM2_2": 0.5,
            "EXPTIME": 30.0,
        }
    )
    after = scaled_header(before, 2)
    assert after["PIXAR_SR"] == 1e-14
    assert after["PIXSCALE"] == 0.13
    assert (after["IMAGEW"], after["IMAGEH"]) == (400, 300)
    assert isinstance(after["IMAGEW"], int)
    # logical = LTM physical + LTV, and the logical pixel l is now 2 (l - 1/2) + 1/2
    assert (after["LTM1_1"], after["LTV1"]) == (2, 2 * (-100 - 0.5) + 0.5)
    assert (after["LTM2_2"], after["LTV2"]) == (1.0, -0.5)
    assert after["EXPTIME"] == 30.0


def test_the_plate_solution_of_the_dss_is_scaled():
    before = header_of(
        {"CNPIX1": 5000, "CNPIX2": 6000, "XPIXELSZ": 25.28, "YPIXELSZ": 25.28, "PPO3": 177500.0}
    )
    after = scaled_header(before, 2)
    assert (after["CNPIX1"], after["XPIXELSZ"], after["PPO3"]) == (10000, 12.64, 177500.0)


def test_sections_of_the_detector_and_lookup_tables_are_left_out_with_a_note():
    before = header_of(
        {
            **FORMS["cd"],
            "BAYERPAT": "RGGB",
            "CCDSUM": "1 1",
            "CCDSECA": "[1:2,3:4]",
            "CPDIS1": "LOOKUP",
            "D2IMERR1": 0.1,
        }
    )
    before.append(fits.Card.fromstring("DP1     = 'EXTVER: 1.0'"))
    after = scaled_header(before, 2)
    assert not {"BAYERPAT", "CCDSUM", "CCDSECA", "CPDIS1", "D2IMERR1", "DP1.EXTVER"} & set(after)
    text = " ".join(after["HISTORY"])
    for word in ("BAYERPAT", "CCDSUM", "CCDSECA", "CPDIS1", "DP1"):
        assert word in text
    assert WCS(after).has_celestial
    assert "CCDSECA" in scaled_header(before, 1)


@pytest.mark.parametrize(
    ("section", "twice"),
    [
        ("[1:200,1:150]", "[1:400,1:300]"),
        ("[101:200, 51:51]", "[201:400,101:102]"),
        ("[200:1,1:150]", "[400:1,1:300]"),
    ],
)
def test_sections_of_the_image_follow_its_pixels(section, twice):
    before = header_of({"DATASEC": section, "BIASSECA": section})
    after = scaled_header(before, 2)
    assert (after["DATASEC"], after["BIASSECA"]) == (twice, twice)
    assert "DATASEC" not in scaled_header(before, 0.5)
    assert "TRIMSEC" not in scaled_header(header_of({"TRIMSEC": "all of it"}), 2)


def test_a_header_without_wcs_gets_none():
    before = header_of({"OBJECT": "flat", "EXPTIME": 3.0})
    assert scaled_header(before, 2) == before
    assert wcs_disagreement(before, before, 2) is None


def test_comments_and_order_are_kept():
    before = header_of(FORMS["cd"])
    before.comments["CRPIX1"] = "reference"
    after = scaled_header(before, 2)
    assert list(after)[: len(before)] == list(before)
    assert after.comments["CRPIX1"] == "reference"
