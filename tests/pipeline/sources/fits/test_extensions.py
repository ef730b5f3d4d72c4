"""Companions of one of several images have the same EXTVER, or are refused with a list of candidates."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.provenance.manifest import read_manifest
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.fits.extensions import resolved
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

SHAPE = (40, 50)


def bad_at(row):
    quality = np.zeros(SHAPE, "i2")
    quality[row, 3] = 4
    return quality


def image(name=None, ver=None, data=None):
    pixels = np.random.default_rng(0).normal(100, 5, SHAPE).astype("f4")
    return fits.ImageHDU(pixels if data is None else data, name=name, ver=ver)


def write(path, *hdus):
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    return path


@pytest.fixture
def mosaic(tmp_path):
    """Two chips, as Hubble's: SCI, ERR and DQ twice."""
    hdus = [
        hdu
        for ver in (1, 2)
        for hdu in (
            image("SCI", ver),
            image("ERR", ver, np.full(SHAPE, 5, "f4")),
            image("DQ", ver, bad_at(ver)),
        )
    ]
    return write(tmp_path / "mosaic.fits", *hdus)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hdu", "named", "taken"),
    [
        ("SCI,2", "[DQ]", "[DQ,2]"),
        ("SCI,2", "[dq]", "[DQ,2]"),
        (4, "[DQ]", "[DQ,2]"),
        ("SCI,1", "[DQ]", "[DQ,1]"),
        (None, "[DQ]", "[DQ,1]"),
        ("SCI,2", "[DQ,1]", "[DQ,1]"),
        ("SCI,2", "[3]", "[3]"),
        ("SCI,2", "[NONE]", "[NONE]"),
    ],
)
def test_the_extension_has_the_same_version(mosaic, hdu, named, taken):
    spec = SourceSpec(mosaic, hdu=hdu, mask=Path(f"{mosaic}{named}"))
    found = resolved(spec)
    assert found.mask == Path(f"{mosaic}{taken}")
    assert resolved(found) == found
    exposed = resolved(replace(spec, mask=None, exposures=(Path(f"{mosaic}{named}"), mosaic)))
    assert exposed.exposures == (Path(f"{mosaic}{taken}"), mosaic)


@pytest.mark.parametrize("role", ["mask", "variance", "guide"])
def test_so_has_that_of_every_companion(mosaic, role):
    spec = SourceSpec(mosaic, hdu="SCI,2", **{role: Path(f"{mosaic}[ERR]")})
    assert getattr(resolved(spec), role) == Path(f"{mosaic}[ERR,2]")


class TestOtherFiles:
    def test_the_same_version_is_chosen(self, mosaic, tmp_path):
        masks = write(tmp_path / "masks.fits", *(image("BAD", v, bad_at(v)) for v in (2, 1)))
        spec = SourceSpec(mosaic, hdu="SCI,2", mask=Path(f"{masks}[BAD]"))
        assert resolved(spec).mask == Path(f"{masks}[BAD,2]")

    def test_without_a_name_the_same_name_is_chosen(self, tmp_path):
        """As DECam's: an image, a mask and a weight file, each with all chips by name."""
        images = write(tmp_path / "ooi.fits", image("N1"), image("N2"))
        masks = write(tmp_path / "ood.fits", image("N1"), image("N2"))
        for hdu, taken in (("N2", "[N2,1]"), (2, "[N2,1]"), (None, "[N1,1]")):
            assert resolved(SourceSpec(images, hdu=hdu, mask=masks)).mask == Path(f"{masks}{taken}")

    def test_the_first_images_go_together_where_none_is_chosen(self, tmp_path):
        alone = write(tmp_path / "alone.fits", image())
        masks = write(tmp_path / "masks.fits", image("BAD", 1), image("BAD", 2))
        assert resolved(SourceSpec(alone, mask=masks)).mask == masks

    def test_a_unique_name_needs_no_version(self, mosaic, tmp_path):
        masks = write(tmp_path / "masks.fits", image("BAD", 7))
        for named in (masks, Path(f"{masks}[BAD]")):
            assert resolved(SourceSpec(mosaic, hdu="SCI,2", mask=named)).mask == named


def test_an_ambiguous_companion_is_refused(mosaic, tmp_path):
    alone = write(tmp_path / "alone.fits", image())
    many = write(tmp_path / "many.fits", image("DQ", 3), image("DQ", 4))
    twice = write(tmp_path / "twice.fits", image("DQ"), image("DQ"))
    for spec, why in (
        (SourceSpec(mosaic, hdu="SCI,2", mask=Path(f"{many}[DQ]")), r"many.fits\[DQ,3\], many"),
        (SourceSpec(alone, mask=Path(f"{many}[DQ]")), "HDU 1 of alone.fits, which has no EXTVER"),
        (SourceSpec(mosaic, hdu="SCI,1", mask=Path(f"{twice}[DQ]")), r"twice.fits\[1\], twice.*2"),
        (SourceSpec(mosaic, hdu="SCI,2", mask=many), "2 images could be meant"),
        (SourceSpec(mosaic, mask=mosaic), "mask .*: 6 images could be meant"),
        (SourceSpec(mosaic, hdu="SCI", variance=tmp_path / "no.fits"), "variance .*no such file"),
    ):
        with pytest.raises(SourceError, match=why) as caught:
            resolved(spec)
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_manifest_names_the_extension(mosaic, tmp_path):
    """`--hdu SCI,2 --mask FILE[DQ]` took the DQ of chip 1, and said so nowhere."""
    spec = SourceSpec(mosaic, hdu="SCI,2", mask=Path(f"{mosaic}[DQ]"))
    store = tmp_path / "o.zarr"
    request = RestoreRequest(spec, store, load_recipe("identity"), "identity", "cpu")
    restore(request, InlinePool())
    assert read_manifest(store).identity.mask.extension == "DQ,2"
    restore(request, InlinePool())
    plan = make_plan(spec, load_recipe("identity"), recipe_name="identity", device="cpu")
    source = open_source(plan.spec)
    invalid = ~source.read(Box(0, 40, 0, 50)).valid
    source.close()
    assert np.argwhere(invalid).tolist() == [[0, 2, 3]]
