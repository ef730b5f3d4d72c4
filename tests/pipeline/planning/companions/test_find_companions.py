"""What is found by name: the mask and the noise of the same EXTVER, or in a file beside the image."""

import numpy as np
import pytest
from astropy.io import fits
from observatories import SHAPE, flagged, hst, sky, write

from glassplate.pipeline.companions.beside import image_of_companion
from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.planning.companions.find_companions import with_companions
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.sources.source import SourceSpec

MASK, ERR = flagged({(3, 4): 1}), np.full(SHAPE, 3.0, "f4")


def found(spec, *overrides, recipe="draft"):
    """File and extension of the mask, and of the noise with its kind, by their names alone."""
    spec = with_companions(spec, load_recipe(recipe, overrides))
    mask = spec.mask and spec.mask.name
    noise = spec.variance and f"{spec.variance.name} {spec.noise_kind}"
    return mask, noise


def image(name="SCI", **cards):
    return name, sky(), cards


@pytest.mark.parametrize("chip", [1, 2])
def test_the_planes_of_the_same_extver(tmp_path, chip):
    path = hst(tmp_path / "flt.fits", MASK, chips=2)
    spec = with_companions(SourceSpec(path, hdu=f"SCI,{chip}"), load_recipe("draft"))
    assert spec.mask.name == f"flt.fits[DQ,{chip}]"
    assert (spec.variance.name, spec.noise_kind) == (f"flt.fits[ERR,{chip}]", "sigma")
    assert spec.flags.table == "HST WFC3 UVIS"
    assert spec.found == ("mask", "variance")
    assert with_companions(spec, load_recipe("draft")) == spec, "what was found is not looked for"


@pytest.mark.parametrize(
    ("find", "expected"),
    [
        ("all", ("flt.fits[DQ,1]", "flt.fits[ERR,1] sigma")),
        ("mask", ("flt.fits[DQ,1]", None)),
        ("noise", (None, "flt.fits[ERR,1] sigma")),
        ("none", (None, None)),
    ],
)
def test_one_key_says_what_is_looked_for(tmp_path, find, expected):
    path = hst(tmp_path / "flt.fits", MASK)
    assert found(SourceSpec(path), f"companions.find={find}") == expected


def test_what_is_given_is_not_looked_for(tmp_path):
    path = hst(tmp_path / "flt.fits", MASK)
    fits.writeto(tmp_path / "mine.fits", MASK)
    given = SourceSpec(path, mask=tmp_path / "mine.fits")
    spec = with_companions(given, load_recipe("draft"))
    assert (spec.mask, spec.flags, spec.found) == (given.mask, None, ("variance",))
    for stated in ("noise.sigma=3", "noise.model=gaussian", "noise.gain=2"):
        assert found(given, stated)[1] is None
    assert found(SourceSpec(path, exposures=(path,)))[1] is None


@pytest.mark.parametrize("recipe", ["identity", "archive-deartifact"])
def test_a_task_that_takes_pixels_as_they_are_looks_for_nothing(tmp_path, recipe):
    path = hst(tmp_path / "flt.fits", MASK)
    assert found(SourceSpec(path), recipe=recipe) == (None, None)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ERR", "sigma"),
        ("VAR", "variance"),
        ("VARIANCE", "variance"),
        ("WHT", "weight"),
        ("WT", "weight"),
        ("IVM", "weight"),
    ],
)
def test_the_noise_by_the_name_of_its_extension(tmp_path, name, kind):
    path = write(tmp_path / "a.fits", [image(), (name, ERR, {})])
    assert found(SourceSpec(path)) == (None, f"a.fits[{name},1] {kind}")


def test_standard_deviations_come_before_variances_and_weights(tmp_path):
    planes = [("WHT", ERR, {}), ("VAR", ERR, {}), ("ERR", ERR, {})]
    path = write(tmp_path / "a.fits", [image(), *planes])
    assert found(SourceSpec(path))[1] == "a.fits[ERR,1] sigma"


@pytest.mark.parametrize(
    ("utype", "kind"),
    [
        ("StdDevUncertainty", "sigma"),
        ("VarianceUncertainty", "variance"),
        ("InverseVariance", "weight"),
        ("UnknownUncertainty", None),
    ],
)
def test_an_astropy_ccddata_names_its_kind(tmp_path, utype, kind):
    uncertainty = fits.ImageHDU(ERR, name="UNCERT")
    uncertainty.header["UTYPE"] = utype
    mask = fits.ImageHDU(MASK.astype("u1"), name="MASK")
    fits.HDUList([fits.PrimaryHDU(sky()), mask, uncertainty]).writeto(tmp_path / "ccd.fits")
    noise = None if kind is None else f"ccd.fits[UNCERT,1] {kind}"
    assert found(SourceSpec(tmp_path / "ccd.fits")) == ("ccd.fits[MASK,1]", noise)


def test_planes_of_lsst_are_named_in_the_mask(tmp_path):
    planes = {"MP_BAD": 0, "MP_SAT": 1, "HIERARCH MP_DETECTED": 5}
    hdus = [image("IMAGE"), ("MASK", flagged({(1, 1): 32}, "i4"), planes), ("VARIANCE", ERR**2, {})]
    path = write(tmp_path / "calexp.fits", hdus)
    spec = with_companions(SourceSpec(path), load_recipe("draft"))
    assert spec.flags.table == "named planes"
    assert (spec.flags.bad, spec.flags.harmless) == ((1, 2), (32,))
    assert spec.variance.name == "calexp.fits[VARIANCE,1]"


def test_early_files_of_lsst_name_the_type_of_an_extension(tmp_path):
    types = ("IMAGE", "MASK", "VARIANCE")
    hdus = [fits.ImageHDU(values) for values in (sky(), MASK, ERR**2)]
    for hdu, kind in zip(hdus, types, strict=True):
        hdu.header["EXTTYPE"] = kind
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "calexp.fits")
    assert found(SourceSpec(tmp_path / "calexp.fits")) == (
        "calexp.fits[2]",
        "calexp.fits[3] variance",
    )


@pytest.mark.parametrize("other", [(48, 60), (2, 48, 64)])
def test_a_plane_of_another_size_is_not_the_mask(tmp_path, other):
    path = write(tmp_path / "a.fits", [image(), ("DQ", np.zeros(other, "i2"), {})])
    assert found(SourceSpec(path)) == (None, None)


def test_a_mask_of_another_extver_is_not_taken(tmp_path):
    path = write(tmp_path / "a.fits", [image(EXTVER=1), ("DQ", MASK, {"EXTVER": 2})])
    assert found(SourceSpec(path)) == (None, None)


def test_triplets_without_extver_follow_each_other(tmp_path):
    triplet = [image(), ("ERR", ERR, {}), ("DQ", MASK, {})]
    path = write(tmp_path / "a.fits", triplet * 2)
    assert found(SourceSpec(path, hdu=1)) == ("a.fits[3]", "a.fits[2] sigma")
    assert found(SourceSpec(path, hdu=4)) == ("a.fits[6]", "a.fits[5] sigma")


def test_one_mask_for_chips_of_other_names_goes_with_the_one_before_it(tmp_path):
    path = write(tmp_path / "a.fits", [image("CCD1"), ("MASK", MASK, {}), image("CCD2")])
    assert found(SourceSpec(path, hdu="CCD1"))[0] == "a.fits[MASK,1]"
    assert found(SourceSpec(path, hdu="CCD2"))[0] is None


@pytest.mark.parametrize("hdu", ["DQ", "ERR"])
def test_a_mask_has_no_mask(tmp_path, hdu):
    path = hst(tmp_path / "flt.fits", MASK)
    assert found(SourceSpec(path, hdu=hdu)) == (None, None)


# Name of an image's file, what is other in the names of its mask and its noise, and what the noise is.
FILES = [
    ("c4d_170916_045042_ooi_r_ls9.fits", "_ooi_", "_ood_", "_oow_", "weight"),
    ("ztf_20200924431759_000655_zr_c13_o_q3_sciimg.fits", "sciimg", "mskimg", None, None),
    ("skycell.1234.052.stk.r.unconv.fits", ".unconv", ".unconv.mask", ".unconv.wt", "variance"),
]


@pytest.mark.parametrize(("name", "own", "mask", "noise", "kind"), FILES)
def test_files_beside_the_image_by_the_rules_of_observatories(
    tmp_path, name, own, mask, noise, kind
):
    path = write(tmp_path / name, [image("N14", EXTVER=1), image("N15")])
    others = [name.replace(own, one) for one in (mask, noise) if one]
    for other in others:
        write(tmp_path / other, [("N14", MASK, {"EXTVER": 1}), ("N15", MASK, {})])
        assert image_of_companion(tmp_path / other) == path
    assert image_of_companion(path) is None
    expected = [f"{others[0]}[N15,1]", f"{others[1]}[N15,1] {kind}" if kind else None]
    assert list(found(SourceSpec(path, hdu="N15"))) == expected


def test_decams_version_of_the_pipeline_decides_between_codes_and_flags(tmp_path):
    names = ("c4d_1_ooi_r.fits", "c4d_1_ood_r.fits")
    for version, coded in (("V4.8.2a", True), ("V3.2", False)):
        for name, values in zip(names, (sky(), MASK), strict=True):
            (tmp_path / name).unlink(missing_ok=True)
            write(tmp_path / name, [("N1", values, {})], INSTRUME="DECam", PLVER=version)
        spec = with_companions(SourceSpec(tmp_path / names[0]), load_recipe("draft"))
        assert spec.flags.coded is coded


def test_a_damaged_mask_beside_the_image_is_an_error_with_a_way_out(tmp_path):
    path = write(tmp_path / "c4d_1_ooi_r.fits", [image("N1")])
    whole = write(tmp_path / "whole.fits", [("N1", MASK, {})])
    (tmp_path / "c4d_1_ood_r.fits").write_bytes(b"SIMPLE  = broken" + whole.read_bytes()[:99])
    with pytest.raises(SourceError, match=r"_ood_.* set companions.find=none"):
        found(SourceSpec(path))
    assert found(SourceSpec(path), "companions.find=none") == (None, None)


def test_a_given_mask_of_an_observatory_is_read_by_its_table(tmp_path):
    path = hst(tmp_path / "flt.fits", MASK)
    fits.writeto(tmp_path / "plain.fits", MASK)
    given = {
        path.with_name("flt.fits[DQ]"): "HST WFC3 UVIS",
        path.with_name("flt.fits[3]"): "HST WFC3 UVIS",
        tmp_path / "plain.fits": None,
    }
    for mask, table in given.items():
        for recipe in ("draft", "identity"):
            spec = with_companions(SourceSpec(path, mask=mask), load_recipe(recipe))
            assert (spec.flags and spec.flags.table) == table
            assert "mask" not in spec.found
    bits = load_recipe("draft", ["companions.dq_bits=4"])
    spec = with_companions(SourceSpec(path, mask=tmp_path / "plain.fits"), bits)
    assert (spec.flags.bad, spec.flags.harmless) == ((4,), None)
