"""What is used of a mask and of the noise, and what is not because it contradicts the image."""

import numpy as np
import pytest
from astropy.io import fits
from observatories import SHAPE, SIGMA, flagged, hst, sky, write

from glassplate.models.noise.description import typical_sigma
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.provenance.manifest import read_manifest
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.store.ome_zarr import open_array
from glassplate.pipeline.tile_grid import Box

CLEAN = flagged({})
ALL = Box(0, SHAPE[0], 0, SHAPE[1])
CODES = {"INSTRUME": "DECam", "PLVER": "V4.8.2a"}
FLAGS = {"INSTRUME": "DECam", "PLVER": "V3.2"}


def planned(spec, *overrides, recipe="draft"):
    return make_plan(spec, load_recipe(recipe, overrides), recipe_name=recipe, device="cpu")


def companion(plan, role):
    (one,) = [one for one in plan.companions if one.role == role]
    return one


def pixels_of(plan):
    source = open_source(plan.spec, plan.findings)
    pixels = source.read(ALL)
    source.close()
    return pixels


def mask_beside(folder, mask, **cards):
    """An image with a mask of an observatory."""
    return write(folder / "a.fits", [("SCI", sky(), {}), ("DQ", mask, {})], **cards)


def test_what_was_found_is_used_and_said(tmp_path):
    mask = flagged({(3, 4): 4096, (5, 6): 16, (7, 8): 256, (9, 10): 256 + 4096})
    plan = planned(SourceSpec(hst(tmp_path / "flt.fits", mask)))
    pixels = pixels_of(plan)
    assert [tuple(place) for place in np.argwhere(~pixels.valid[0])] == [
        (3, 4),
        (7, 8),
        (9, 10),
        (47, 1),
    ]
    assert [tuple(place) for place in np.argwhere(pixels.saturated[0])] == [(7, 8), (9, 10)]
    np.testing.assert_allclose(pixels.variance[pixels.valid], SIGMA**2)
    assert plan.warnings == ()
    assert companion(plan, "mask").words == (
        "flt.fits[DQ,1], found by name; flags of HST WFC3 UVIS: bad 1 2 4 8 32 128 256 512 1024 2048 4096 "
        "8192 16384 32768; saturated if 256 2048; 0.065 % of the pixels looked at are bad, 0.065 % are "
        "saturated and stay as measured"
    )
    assert "the image shows" in companion(plan, "variance").remark


def test_jumps_of_jwst_are_not_bad(tmp_path):
    path = mask_beside(tmp_path, np.full(SHAPE, 4, "u4"), TELESCOP="JWST")
    assert pixels_of(planned(SourceSpec(path))).valid.all()


def test_objects_that_were_detected_are_not_bad(tmp_path):
    path = mask_beside(tmp_path, np.full(SHAPE, 2 + 2048, "i2"), INSTRUME="ZTF/MOSAIC")
    assert pixels_of(planned(SourceSpec(path))).valid.all()


@pytest.mark.parametrize(
    ("cards", "numbers", "said"),
    [
        (
            CODES,
            {(1, 1): 64, (2, 2): 128, (3, 3): 2},
            "holds 64, 128, which are no codes of NOIRLab",
        ),
        (FLAGS, {(1, 1): 8, (2, 2): 8, (3, 3): 1}, "holds 8, which are no flags of NOIRLab"),
        ({}, {(1, 1): 1}, ""),
    ],
)
def test_a_table_of_the_wrong_sense_is_noticed(tmp_path, cards, numbers, said):
    plan = planned(SourceSpec(mask_beside(tmp_path, flagged(numbers), **cards)))
    assert companion(plan, "mask").used is (said == "")
    if said:
        (warning,) = plan.warnings
        assert said in warning
        assert "it was found by name and is not used; give --mask" in warning
        assert pixels_of(plan).valid.all()


def test_a_mask_of_good_pixels_is_noticed(tmp_path):
    good = 1 - flagged({(3, 4): 1})
    path = mask_beside(tmp_path, good)
    plan = planned(SourceSpec(path))
    assert "takes 100% of the pixels for bad" in plan.warnings[0]
    assert pixels_of(plan).valid.all()
    half = good * (np.arange(SHAPE[0])[:, None] < 24)
    given = mask_beside_given(tmp_path, half)
    plan = planned(given)
    assert plan.warnings[0].endswith("it is used all the same")
    assert not pixels_of(plan).valid[0, :24].all()


def mask_beside_given(folder, mask):
    """An image with a mask that is given, and read by the table of its observatory."""
    path = write(folder / "b.fits", [("SCI", sky(), {}), ("DQ", mask, {})], TELESCOP="JWST")
    return SourceSpec(path, mask=path.with_name("b.fits[DQ]"))


def test_a_mask_that_somebody_made_may_mark_most_of_an_image(tmp_path):
    fits.writeto(tmp_path / "a.fits", sky())
    fits.writeto(tmp_path / "mask.fits", (np.arange(48 * 64).reshape(SHAPE) % 5 > 0).astype("u1"))
    spec = SourceSpec(tmp_path / "a.fits", mask=tmp_path / "mask.fits")
    assert not [line for line in planned(spec).warnings if line.startswith("mask")]


def test_codes_that_a_recipe_reads_as_flags_are_noticed(tmp_path):
    """No table says that it holds codes, but 5 is no sum of flags that are seen."""
    fits.writeto(tmp_path / "a.fits", sky())
    fits.writeto(tmp_path / "mask.fits", flagged({(1, 1): 1, (2, 2): 5, (3, 3): 3}))
    spec = SourceSpec(tmp_path / "a.fits", mask=tmp_path / "mask.fits")
    (warning,) = planned(spec, "companions.dq_bits=1").warnings
    assert "holds 3, 5, which are no flags" in warning
    assert planned(spec, "companions.dq_codes=1,5").warnings == ()


def test_flags_without_a_mask_have_no_effect(tmp_path):
    fits.writeto(tmp_path / "a.fits", sky())
    (warning,) = planned(SourceSpec(tmp_path / "a.fits"), "companions.dq_bits=4").warnings
    assert warning == "companions.dq_bits [4] has no effect: the image has no mask"


@pytest.mark.parametrize(
    ("err", "likely"),
    [(9.0, "looks like variances"), (1 / 9, "looks like weights"), (40.0, "unit")],
)
def test_noise_that_contradicts_the_image_is_not_used(tmp_path, err, likely):
    path = hst(tmp_path / "flt.fits", CLEAN, err=err)
    plan = planned(SourceSpec(path))
    (warning,) = plan.warnings
    assert (
        f"sigma {path}[ERR,1]: a standard deviation of {err:.4g}, but the image shows 2.8"
        in warning
    )
    assert likely in warning
    assert not companion(plan, "variance").used
    assert not plan.has_variance
    assert pixels_of(plan).variance is None
    with pytest.raises(UsageError, match=r"--sigma .*flt\.fits\[ERR"):
        planned(SourceSpec(path, variance=path.with_name("flt.fits[ERR]"), noise_kind="sigma"))


def test_weights_that_are_exposure_times_are_not_used(tmp_path):
    path = write(tmp_path / "drz.fits", [("SCI", sky(), {}), ("WHT", np.full(SHAPE, 2000.0), {})])
    plan = planned(SourceSpec(path))
    assert "they are relative weights or exposure times" in plan.warnings[0]
    assert not plan.has_variance


@pytest.mark.parametrize("err", [0.0, np.nan])
def test_an_empty_plane_of_noise_is_not_used(tmp_path, err):
    plan = planned(SourceSpec(hst(tmp_path / "flt.fits", CLEAN, err=err)))
    assert plan.warnings == ()
    one = companion(plan, "variance")
    assert not one.used
    assert "only 0% of the valid pixels have a noise above 0" in one.remark
    assert pixels_of(plan).valid[0, :-1].all()


def detected(folder, unit, gain, read_noise, seconds=1.0, level=400.0):
    """An image of photons that a detector counted, in its unit, with white noise of no other source."""
    rng = np.random.default_rng(0)
    light = np.linspace(level / 2, 2 * level, SHAPE[1])[None].repeat(SHAPE[0], 0)
    electrons = rng.poisson(light) + rng.normal(0, read_noise, SHAPE)
    cards = {"GAIN": gain, "RDNOISE": read_noise, "EXPTIME": seconds}
    path = folder / "a.fits"
    fits.writeto(path, (electrons / gain / seconds).astype("f4"))
    with fits.open(path, mode="update") as hdus:
        hdus[0].header.update(cards)
        if unit:
            hdus[0].header["BUNIT"] = unit
    return path


@pytest.mark.parametrize(
    ("unit", "gain", "seconds"),
    [
        ("adu", 2.5, 1.0),
        (None, 2.5, 1.0),
        ("ELECTRONS", 1.0, 1.0),
        ("electron/s", 1.0, 300.0),
        ("adu/s", 2.5, 60),
    ],
)
def test_gain_and_read_noise_of_the_header(tmp_path, unit, gain, seconds):
    """A rate is taken times its exposure time before the noise of its photons is."""
    path = detected(tmp_path, unit, gain, 5.0, seconds)
    plan = planned(SourceSpec(path))
    assert plan.noise.origin.startswith("header: ")
    assert plan.noise.slope == pytest.approx(1 / (gain * seconds))
    assert plan.noise.floor == pytest.approx((5 / gain / seconds) ** 2)
    one = companion(plan, "detector")
    assert one.used
    assert one.found
    assert planned(SourceSpec(path), "companions.find=mask").noise.origin.startswith("estimated")


@pytest.mark.parametrize("pedestal", [0.0, 300.0, 4000.0])
def test_a_bias_level_is_no_light(tmp_path, pedestal):
    path = detected(tmp_path, "adu", 1.0, 5.0)
    with fits.open(path, mode="update") as hdus:
        hdus[0].data += np.float32(pedestal)
    plan = planned(SourceSpec(path))
    one = companion(plan, "detector")
    assert one.used is (pedestal == 0)
    assert len(plan.warnings) == (pedestal == 4000)
    source = sky_samples(path)
    assert typical_sigma(source, plan.noise) == pytest.approx(20, rel=0.3)


def sky_samples(path):
    values = fits.getdata(path).astype("f4")[None]
    return [(values, np.ones(values.shape, bool))]


@pytest.mark.parametrize("unit", ["MJy/sr", "Jy/beam", "mag", "nanomaggy"])
def test_other_units_are_no_counts(tmp_path, unit):
    plan = planned(SourceSpec(detected(tmp_path, unit, 1.0, 5.0)))
    assert plan.companions == ()


def test_saturated_pixels_keep_their_value_and_resumes_keep_the_judgement(tmp_path):
    mask = flagged({(3, 4): 4096, (7, 8): 256, (9, 10): 2048 + 8192})
    path = hst(tmp_path / "flt.fits", mask, err=9.0)
    recipe = load_recipe("draft", ["fit.iterations=4", "network.channels=8"])
    store = tmp_path / "o.zarr"
    restore(RestoreRequest(SourceSpec(path), store, recipe, "draft", "cpu"), InlinePool())
    image, result = fits.getdata(path, "SCI"), np.asarray(open_array(store, "0"))
    residual = np.asarray(open_array(store, "residual"))
    assert result[7, 8] == image[7, 8]
    assert result[9, 10] == image[9, 10]
    assert residual[7, 8] == 0
    assert np.isnan(result[3, 4])
    manifest = read_manifest(store)
    assert manifest.identity.mask.extension == "DQ,1"
    assert manifest.identity.found == ("mask", "variance")
    assert manifest.summary.companions[0].startswith("flt.fits[DQ,1], found by name; flags of HST")
    assert "not used" in manifest.summary.companions[1]
    plan = make_plan(SourceSpec(path), recipe, recipe_name="draft", device="cpu")
    assert plan.as_recorded(manifest.plan).findings == plan.findings


def test_what_is_repaired_is_not_what_is_saturated(tmp_path):
    mask = flagged({(3, 4): 4096, (7, 8): 256})
    plan = planned(SourceSpec(hst(tmp_path / "flt.fits", mask)), recipe="astro-repair")
    assert [tuple(one) for one in np.argwhere(plan.to_fill(pixels_of(plan))[0])] == [
        (3, 4),
        (47, 1),
    ]
