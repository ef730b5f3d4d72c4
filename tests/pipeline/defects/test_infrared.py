"""Dust is dark in the infrared plane of a scan: it becomes the mask, and the plane itself is copied."""

import numpy as np
import pytest
import tifffile
from exported import restored

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.export.export import export
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.planning.companions.find_companions import with_companions
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

VERSION = (50706, 1, 4, (1, 4, 0, 0), True)
LINEAR_RAW = 34892
# Kinds of pages; tifffile writes no masks of grey.
PAGE, MASK = 2, 4
SHAPE = (150, 190)
ALL = Box(0, 150, 0, 190)
REPAIR = parse_recipe({"task": "inpaint"}, "test")


def dust():
    """A speck of 9 pixels and a hair of 3."""
    there = np.zeros(SHAPE, bool)
    there[40:49, 60:69] = True
    there[100:103, 20:90] = True
    return there


def scan(*, dark=None):
    """Colours and the infrared plane, ``(y, x, 4)``, of film on which there is dust."""
    rng = np.random.default_rng(0)
    colours = rng.normal(20000, 300, (*SHAPE, 3))
    infrared = rng.normal(40000, 200, SHAPE) + np.linspace(-2000, 2000, SHAPE[1])
    infrared[dust() if dark is None else dark] *= 0.6
    return np.dstack([colours, infrared]).astype("u2")


def write_vuescan(path, data, *, matrix=None):
    tags = [VERSION] if matrix is None else [VERSION, (50721, 10, matrix, (1, 1) * matrix, True)]
    kind = {"photometric": "rgb", "extrasamples": ["unspecified"]}
    if data.shape[2] == 2:
        kind = {
            "photometric": "minisblack",
            "extrasamples": ["unspecified"],
            "planarconfig": "contig",
        }
    tifffile.imwrite(path, data, extratags=tags, metadata=None, **kind)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages.first.tags[262].overwrite(LINEAR_RAW)


def write_hdri(path, data):
    """As SilverFast: a small picture, the infrared page, and the colours below the small picture."""
    with tifffile.TiffWriter(path) as tiff:
        small = (data[::4, ::4, :3] >> 8).astype("u1")
        tiff.write(small, photometric="rgb", subfiletype=1, subifds=1, extratags=[VERSION])
        tiff.write(data[..., :3], photometric="rgb")
        tiff.write(data[..., 3], photometric="minisblack", subfiletype=PAGE)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages.first.pages[0].tags[262].overwrite(LINEAR_RAW)
        tiff.pages[1].tags[254].overwrite(MASK)


def write_rgbi(path, data):
    kind = {"photometric": "rgb", "extrasamples": ["unspecified"]}
    tifffile.imwrite(path, data, software="VueScan 9 x64 (9.8)", metadata=None, **kind)


def write_two_pages(path, data):
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(data[..., :3], photometric="rgb", metadata=None)
        tiff.write(data[..., 3], photometric="minisblack", subfiletype=PAGE, metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages[1].tags[254].overwrite(MASK)


WRITERS = {
    "a.dng": (write_vuescan, 0),
    "b.dng": (write_hdri, 1),
    "c.tif": (write_rgbi, 0),
    "d.tif": (write_two_pages, 1),
}


@pytest.fixture(params=WRITERS)
def film(request, tmp_path):
    """A scan, and the number of the page with its infrared plane."""
    write, page = WRITERS[request.param]
    path = tmp_path / request.param
    write(path, scan())
    return path, page


def test_the_colours_are_the_image_and_the_infrared_its_mask(film):
    path, page = film
    spec = with_companions(SourceSpec(path), REPAIR)
    assert spec.mask == path.with_name(f"{path.name}[infrared,{page}]")
    assert spec.found == ("mask",)
    source = open_source(spec)
    pixels = source.read(ALL)
    source.close()
    np.testing.assert_array_equal(pixels.values, np.moveaxis(scan()[..., :3], 2, 0))
    bad = ~pixels.valid
    assert (bad == bad[0]).all()
    assert bad[0][dust()].all()
    # edges are taken too, and nothing else
    assert bad[0].sum() < 2.5 * dust().sum()
    assert not bad[0][:30].any()


def test_windows_agree(film):
    spec = with_companions(SourceSpec(film[0]), REPAIR)
    source = open_source(spec)
    whole = source.read(ALL).valid
    for box in (Box(30, 60, 50, 80), Box(95, 110, 0, 60), Box(44, 45, 61, 62)):
        np.testing.assert_array_equal(source.read(box).valid, whole[:, *box.slices])
    source.close()


def test_the_plan_says_so(film):
    plan = make_plan(SourceSpec(film[0]), REPAIR, recipe_name="test", device="cpu")
    (mask,) = plan.recorded().companions
    assert "[infrared," in mask.name
    assert mask.used
    assert "found by name; dust and scratches, which are dark in infrared" in mask.words
    assert not with_companions(
        SourceSpec(film[0]), parse_recipe({"companions": {"find": "none"}}, "test")
    ).mask


@pytest.mark.parametrize("side", [2, 10, 30])
def test_film_that_is_opaque_in_infrared_has_no_mask(tmp_path, side):
    """Silver of black-and-white film and some slide film show the picture in infrared."""
    picture = np.random.default_rng(1).random((SHAPE[0] // side + 1, SHAPE[1] // side + 1)) < 0.45
    dark = picture.repeat(side, 0).repeat(side, 1)[: SHAPE[0], : SHAPE[1]]
    write_rgbi(tmp_path / "a.tif", scan(dark=dark))
    plan = make_plan(SourceSpec(tmp_path / "a.tif"), REPAIR, recipe_name="test", device="cpu")
    (mask,) = plan.recorded().companions
    assert not mask.used
    assert any("the picture is seen in infrared" in one for one in plan.recorded().warnings)


def test_an_export_has_the_infrared_plane(film, tmp_path):
    path, page = film
    store, _ = restored(tmp_path, path)
    export(store, tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        written = tiff.pages.first
        assert int(written.photometric) == 2
        same = scan() if page == 0 else scan()[..., :3]
        np.testing.assert_array_equal(written.asarray(), same)
        assert [int(kind) for kind in written.extrasamples] == [0] * (page == 0)


def test_grey_film(tmp_path):
    write_vuescan(tmp_path / "a.dng", scan()[..., 2:])
    spec = with_companions(SourceSpec(tmp_path / "a.dng"), REPAIR)
    source = open_source(spec)
    assert source.shape == (1, *SHAPE)
    assert not source.read(ALL).valid[0][dust()].any()
    source.close()


def test_four_colours_are_no_infrared(tmp_path):
    write_vuescan(tmp_path / "a.dng", scan(), matrix=12)
    tifffile.imwrite(tmp_path / "b.tif", scan(), photometric="rgb", extrasamples=["unspecified"])
    for name in ("a.dng", "b.tif"):
        spec = with_companions(SourceSpec(tmp_path / name), REPAIR)
        assert spec.mask is None
        source = open_source(spec)
        assert source.shape == (4, *SHAPE)
        source.close()


def test_an_infrared_page_is_listed_and_read_by_its_number(tmp_path):
    write_two_pages(tmp_path / "a.tif", scan())
    _, page = describe(tmp_path / "a.tif")["images"]
    assert page["note"] == "infrared, the mask of dust of another page"
    source = open_source(SourceSpec(tmp_path / "a.tif", page=1))
    np.testing.assert_array_equal(source.read(ALL).values[0], scan()[..., 3])
    source.close()
    source = open_source(SourceSpec(tmp_path / "a.tif", page="all"))
    assert source.shape == (3, *SHAPE)
    source.close()


def test_a_grey_file_marked_as_a_mask_is_read(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", scan()[..., 3], subfiletype=PAGE)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tiff:
        tiff.pages.first.tags[254].overwrite(MASK)
    source = open_source(SourceSpec(tmp_path / "a.tif"))
    assert source.shape == (1, *SHAPE)
    source.close()


def test_an_infrared_plane_needs_its_page(tmp_path):
    write_rgbi(tmp_path / "a.tif", scan())
    with pytest.raises(SourceError, match=r"name the page that holds it: a.tif\[infrared,0\]"):
        open_source(SourceSpec(tmp_path / "a.tif", mask=tmp_path / "a.tif[infrared]"))
