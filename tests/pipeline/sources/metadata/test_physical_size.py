"""The size of a pixel, as the file states it."""

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from glassplate.pipeline.pixel_size import PixelSize
from glassplate.pipeline.sources.metadata.microscope import micrometres
from glassplate.pipeline.sources.metadata.physical_size import pixel_size
from glassplate.pipeline.sources.open_image import open_image
from glassplate.pipeline.sources.source import SourceSpec

# A field with a scale of 0.25" by 0.5", turned by 30 degrees.
TURNED = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 30.0,
    "CRVAL2": 2.0,
    "CD1_1": -0.25 / 3600 * np.cos(np.pi / 6),
    "CD1_2": 0.5 / 3600 * np.sin(np.pi / 6),
    "CD2_1": 0.25 / 3600 * np.sin(np.pi / 6),
    "CD2_2": 0.5 / 3600 * np.cos(np.pi / 6),
}


def header_of(cards):
    return {
        "fits": {"header": fits.Header(cards.items()).tostring("\n", endcard=False, padding=False)}
    }


@pytest.mark.parametrize(
    "kinds",
    [
        ("RA---TAN", "DEC--TAN"),
        ("RA---TAN-SIP", "DEC--TAN-SIP"),  # the coefficients are not needed
        ("RA---TPV", "DEC--TPV"),
        ("GLON-CAR", "GLAT-CAR"),
        ("DEC--TAN", "RA---TAN"),  # axes exchanged
    ],
)
def test_a_celestial_wcs_gives_arcseconds(kinds):
    cards = {**TURNED, "CTYPE1": kinds[0], "CTYPE2": kinds[1], "CRVAL2": 0.0}
    found = pixel_size(header_of(cards))
    assert found.unit == "arcsecond"
    assert (found.x, found.y) == pytest.approx((0.25, 0.5), rel=1e-6)


@given(st.floats(1e-6, 1.0), st.floats(1e-6, 1.0), st.sampled_from(["deg", "arcsec"]))
def test_increments_come_back_in_arcseconds(x, y, unit):
    cards = {**{k: v for k, v in TURNED.items() if k[:2] != "CD"}, "CDELT1": -x, "CDELT2": y}
    cards |= {"CUNIT1": unit, "CUNIT2": unit, "CRVAL1": 0.0, "CRVAL2": 0.0}
    found = pixel_size(header_of(cards))
    factor = 3600 if unit == "deg" else 1
    assert (found.x, found.y) == pytest.approx((x * factor, y * factor), rel=1e-6)


@pytest.mark.parametrize(
    "cards",
    [
        {},
        {"CTYPE1": "LINEAR", "CDELT1": 2.0},
        {**TURNED, "CD1_1": 0.0, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.0},
        {**TURNED, "CTYPE2": "DEC--NONE"},
        {**TURNED, "CTYPE1": "FREQ"},
        {key: value for key, value in TURNED.items() if key[:2] != "CD"},  # a degree by default
        # the sky on the first and third axis: the second is a spectrum
        {
            "CTYPE1": "RA---TAN",
            "CTYPE2": "FREQ",
            "CTYPE3": "DEC--TAN",
            "CDELT1": 0.1,
            "CDELT3": 0.1,
        },
    ],
)
def test_a_header_without_a_celestial_image_gives_none(cards):
    assert pixel_size(header_of(cards)) is None


@given(
    st.lists(
        st.builds(
            "{:<8}= {}".format,
            st.sampled_from(["CTYPE1", "CTYPE2", "CD1_1", "CDELT2", "CUNIT1", "NAXIS", "CRVAL1"]),
            st.sampled_from(["'RA---TAN-SIP'", "'DEC--TPV'", "'RA---TAN", "1.0", "1E400", "x", "T"])
            | st.text(max_size=40),
        ),
        max_size=8,
    )
)
def test_no_header_is_too_damaged(cards):
    pixel_size({"fits": {"header": "\n".join(f"{card:<80}" for card in cards)}})


@pytest.mark.parametrize(
    ("resolution", "unit", "expected"),
    [
        ((300, 300), "INCH", (25400 / 300, 25400 / 300)),
        ((600, 300), "INCH", (25400 / 300, 25400 / 600)),
        ((200, 200), "CENTIMETER", (50.0, 50.0)),
        ((1, 1), "NONE", None),
        ((0, 0), "INCH", None),
    ],
)
def test_the_resolution_of_a_scan_gives_micrometres(tmp_path, resolution, unit, expected):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((4, 5), "u1"), resolution=resolution, resolutionunit=unit)
    source = open_image(SourceSpec(path))
    found = pixel_size(source.metadata)
    source.close()
    if expected is None:
        assert found is None
    else:
        assert found.unit == "micrometer"
        assert (found.y, found.x) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("length", "unit", "expected"),
    [(0.2, "µm", 0.2), (65.0, "nm", 0.065), (1.5, "mm", 1500.0), (3.0, "pixel", None)],
)
def test_the_description_of_a_microscope_gives_micrometres(tmp_path, length, unit, expected):
    # OME states the size in XML, its resolution is 1 pixel in no unit
    sizes = {
        "PhysicalSizeX": 2 * length,
        "PhysicalSizeXUnit": unit,
        "PhysicalSizeY": length,
        "PhysicalSizeYUnit": unit,
    }
    ome, imagej = tmp_path / "a.ome.tif", tmp_path / "b.tif"
    stack = np.zeros((3, 4, 5), "u2")
    tifffile.imwrite(ome, stack, metadata={"axes": "ZYX", **sizes})
    resolution, ascii_unit = (0.5 / length, 1 / length), unit.replace("µ", "\\u00B5")
    tifffile.imwrite(
        imagej,
        stack,
        imagej=True,
        resolution=resolution,
        metadata={"axes": "ZYX", "unit": ascii_unit},
    )
    for path in (ome, imagej):
        for page in ("all", 0, 2):
            source = open_image(SourceSpec(path, page=page))
            found = pixel_size(source.metadata)
            source.close()
            if expected is None:
                assert found is None
            else:
                assert found.unit == "micrometer"
                assert (found.y, found.x) == pytest.approx((expected, 2 * expected), rel=1e-5)


@pytest.mark.parametrize(
    "description",
    [
        "<OME><Image><Pixels PhysicalSizeX='0' PhysicalSizeY='1'/></Image></OME>",
        "<OME><Image><Pixels PhysicalSizeX='1'/></Image></OME>",
        "<OME><Image><Pixels PhysicalSizeX='1 um' PhysicalSizeY='1'/></Image></OME>",
        "<OME><Image><Pixels PhysicalSizeX='1' PhysicalSizeY='1'/></Image>"
        "<Image><Pixels PhysicalSizeX='2' PhysicalSizeY='2'/></Image></OME>",
        "<OME><Image><Pixels",
        "ImageJ=1.54f\nunit=parsec\n",
    ],
)
def test_a_description_without_one_possible_size_gives_none(description):
    assert micrometres(description, [[5, 1], [5, 1]], 1) is None


def geotiff(keys, scale=(10.0, 20.0, 0.0)):
    stored = [1, 1, 0, len(keys), *(number for key, value in keys for number in (key, 0, 1, value))]
    tags = [[33550, "", 12, 3, list(scale)], [34735, "", 3, len(stored), stored]]
    page = {"resolution": [[72, 1], [72, 1]], "resolution_unit": 2}
    return {"tiff": {**page, "tags": tags}}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([(1024, 1), (3076, 9001)], PixelSize(20.0, 10.0, "meter")),
        ([(1024, 1), (3076, 9002)], PixelSize(20.0, 10.0, "foot")),
        ([(1024, 2)], PixelSize(72000.0, 36000.0, "arcsecond")),
        ([(1024, 1)], None),  # the unit is that of a code, which is not looked up
        ([(1024, 1), (3076, 32767)], None),
    ],
)
def test_a_map_has_the_unit_of_its_projection_and_not_that_of_the_page(keys, expected):
    assert pixel_size(geotiff(keys)) == expected


def test_damaged_geographic_tags_give_none():
    assert pixel_size(geotiff([(1024, 1), (3076, 9001)], scale=("x", 1.0, 0.0))) is None
    assert pixel_size(geotiff([(1024, 1), (3076, 9001)], scale=(0.0, 1.0, 0.0))) is None
    assert pixel_size({"tiff": {"tags": [[33550, "", 12, 3, 7]]}}) is None


def test_impossible_sizes_are_refused():
    for size in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="above 0"):
            PixelSize(1.0, size, "meter")
    assert PixelSize(4.0, 2.0, "meter").divided(2) == PixelSize(2.0, 1.0, "meter")
