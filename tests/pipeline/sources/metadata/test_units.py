"""Physical units: an image times a power of two is restored to the result times that power."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import zarr
from astropy.io import fits
from manifests import manifest
from runs import FIT, request

from glassplate.models.noise.model import NoiseModel, NoiseSettings
from glassplate.models.pixel_transform import PixelTransform
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.provenance.manifest import read_manifest, write_manifest
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.sources.metadata.units import is_per_pixel, unit_exponent
from glassplate.pipeline.sources.source import SourceSpec

ALL = {**FIT, "fit": {**FIT["fit"], "uncertainty": True}}
ARRAYS = ("0", "residual", "uncertainty", "footprint")


def image_of(shape=(30, 34), seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = 10 + 40 * np.exp(-((y - 14) ** 2 + (x - 18) ** 2) / 12) + rng.normal(0, 1, shape)
    image[3, 4] = np.nan
    return image.astype("f4")


def restored(folder, name, factor, raw=ALL, dtype="f4", **more):
    """Arrays, summary and plan of the manifest of the image times a factor."""
    files = {}
    powers = {"variance": 2, "exposures": 1}
    for role in more:
        companion = image_of(seed=1) if role == "exposures" else np.full((30, 34), 1.1)
        path = folder / f"{name}-{role}.fits"
        fits.writeto(path, (companion * np.float64(factor) ** powers[role]).astype("f8"))
        files[role] = (path,) if role == "exposures" else path
    fits.writeto(folder / f"{name}.fits", (image_of() * np.float64(factor)).astype(dtype))
    spec = SourceSpec(folder / f"{name}.fits", **files)
    done = restore(request(spec, folder / f"{name}.zarr", raw), InlinePool())
    group = zarr.open_group(str(folder / f"{name}.zarr"), mode="r")
    manifest = json.loads((folder / f"{name}.zarr" / "provenance" / "manifest.json").read_text())
    return group, asdict(done.summary), manifest["plan"]


def same_times(group, other, factor):
    for name in ARRAYS:
        power = 1 if name == "footprint" else factor
        expected = (group[name][...].astype("f8") * power).astype(other[name].dtype)
        np.testing.assert_array_equal(other[name][...], expected)
    seams = group["quality"]["seam"][...] * np.float32(factor)
    np.testing.assert_array_equal(other["quality"]["seam"][...], seams)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "powers"), [("f4", (-64, -70, 64)), ("f8", (-100, 90))])
def test_a_power_of_two_changes_nothing_else(tmp_path, dtype, powers):
    group, summary, plan = restored(tmp_path, "near", 1.0, dtype=dtype)
    assert plan["unit_exponent"] == 0
    for k in powers:
        far, far_summary, far_plan = restored(tmp_path, f"far-{k}", 2.0**k, dtype=dtype)
        same_times(group, far, 2.0**k)
        assert far_plan["unit_exponent"] != 0
        for name in ("noise_before", "noise_after"):
            assert far_summary[name] == pytest.approx(summary[name] * 2.0**k, rel=1e-6)
        floor = plan["noise"]["floor"]
        assert far_plan["noise"]["floor"] == pytest.approx(floor * 4.0**k, rel=1e-12)
        assert far_summary["chi2"] == summary["chi2"]


@pytest.mark.slow
@pytest.mark.parametrize("companion", ["variance", "exposures"])
def test_a_power_of_two_with_companions(tmp_path, companion):
    group, _, _ = restored(tmp_path, "near", 1.0, **{companion: True})
    far, _, _ = restored(tmp_path, "far", 2.0**-64, **{companion: True})
    same_times(group, far, 2.0**-64)


@pytest.mark.slow
@pytest.mark.parametrize(
    "raw", [{"noise": {"sigma": 1.0}}, {"noise": {"gain": 2.0, "read_noise": 1.0}}]
)
def test_a_power_of_two_with_a_given_noise(tmp_path, raw):
    group, _, _ = restored(tmp_path, "near", 1.0, {**ALL, **raw})
    there = {k: v * 2.0**-64 if k == "sigma" else v for k, v in raw["noise"].items()}
    if "gain" in there:
        there["gain"] *= 2.0**64
    far, _, _ = restored(tmp_path, "far", 2.0**-64, {**ALL, "noise": there})
    same_times(group, far, 2.0**-64)


@pytest.mark.slow
@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"task": "inpaint", "defects": {"cosmic_rays": True}, "donor": {"tiles": 0}},
        {"task": "superres", "operator": {"scale": 2}},
        {"donor": {"tiles": 1, "iterations": 4, "windows": 2, "tile_iterations": 4}},
    ],
    ids=["denoise", "repair", "enlarge", "donor"],
)
def test_physical_units_are_restored(tmp_path, raw):
    done = {}
    # the other tasks differ from it in what they do with a value, not in how far it may be
    for factor in (1.0, 1e-30, 1e25) if raw else (1.0, 1e-30, 1e-21, 1e17, 1e25):
        group, summary, _ = restored(tmp_path, f"times-{factor}", factor, {**FIT, **raw})
        assert summary["quarantined"] == {}
        done[factor] = group["0"][...].astype("f8") / factor
    near = done.pop(1.0)
    for factor, far in done.items():
        np.testing.assert_array_equal(np.isnan(far), np.isnan(near), str(factor))
        # the noise is 1; a decimal factor rounds each value, and a few iterations make more of it
        assert np.nanmedian(np.abs(far - near)) < 0.5, factor


@pytest.mark.slow
def test_pixels_that_are_not_filled_keep_their_bits(tmp_path):
    raw = {**FIT, "task": "inpaint", "donor": {"tiles": 0}}
    group, _, _ = restored(tmp_path, "far", 1e25, raw)
    given = fits.getdata(tmp_path / "far.fits")
    known = np.isfinite(given)
    np.testing.assert_array_equal(group["0"][...][known], given[known])
    assert np.isfinite(group["0"][...]).all()


def test_a_resumed_plan_reads_in_the_units_that_it_began_with(tmp_path):
    fits.writeto(tmp_path / "far.fits", (image_of() * np.float64(1e-21)).astype("f4"))
    plan = make_plan(SourceSpec(tmp_path / "far.fits"), parse_recipe(FIT, "t"), recipe_name="t")
    (tmp_path / "provenance").mkdir()
    write_manifest(tmp_path, manifest(plan=plan.recorded()))
    assert plan.as_recorded(read_manifest(tmp_path).plan) == plan
    assert plan.findings.exponent == -64


@pytest.mark.parametrize(
    ("values", "exponent"),
    [
        (np.zeros(9), 0),
        (np.full(9, 3.0), 0),
        (np.full(9, 1e25), 64),
        (np.linspace(0, 65535, 99), 0),
        (np.linspace(0, 1e-6, 99), 0),
        (np.linspace(0, 1e-21, 99), -64),
        (1 + np.linspace(0, 1e-12, 99), 0),  # a level far above its noise
        (np.concatenate([np.geomspace(1e-40, 1e-12, 80), [10.0] * 20]), 0),  # wings without noise
    ],
)
def test_only_units_far_from_one_are_scaled(values, exponent):
    sample = values.reshape(1, 1, -1)
    assert unit_exponent([(sample, np.ones(sample.shape, bool))]) == exponent


def test_given_noise_follows_the_unit():
    settings = NoiseSettings(gain=2.0, read_noise=3.0).scaled(4)
    assert (settings.gain, settings.read_noise) == (0.125, 3.0)
    assert NoiseSettings(sigma=2.0).scaled(-1).sigma == 1.0
    assert NoiseSettings(model="poisson").scaled(3).gain == 0.125
    model = NoiseModel(4.0, 2.0, 0.0, False, "given", 1.0).scaled(3)
    assert (model.floor, model.slope, model.pedestal) == (256.0, 16.0, 8.0)


@pytest.mark.parametrize("kind", ["linear", "asinh"])
def test_a_transform_follows_the_unit(kind):
    transform = PixelTransform(kind, 3.0, 2.0, 5.0)
    x = np.linspace(-10, 30, 7)
    np.testing.assert_array_equal(
        transform.scaled(-70).forward(np.ldexp(x, -70)), transform.forward(x)
    )


@pytest.mark.parametrize(
    "unit",
    [
        "adu",
        "ADU",
        "DN",
        "dn/s",
        "counts",
        "count",
        "ct",
        "electron",
        "ELECTRONS/S",
        "e-",
        "e-/s",
        "photon",
        "nanomaggy",
        "Jy",
        "uJy",
        "10**-9 nanomaggies",
        "counts/pixel",
        "Analog/sec",
        "10**(-6)counts/s",
        "1e-9 nanomaggy",
        "erg/s/cm2/Angstrom",
        "erg s-1 cm-2 Hz-1",
        "W/m2",
        "electron s-1 pixel-1",
        "photons per second",
        "cps",
        # Herschel, and spectra of SDSS and MUSE; the first and "A", ampere in astropy, were not known
        "Jy/pixel",
        "mJy pix-1",
        "erg/s/cm^2/A",
        "1E-17 erg/cm^2/s/Ang/spaxel",
        "10**(-20)*erg/s/cm**2/Angstrom",
    ],
)
def test_units_that_add_up(unit):
    assert is_per_pixel(unit)


@pytest.mark.parametrize(
    "unit",
    [
        None,
        "",
        "MJy/sr",
        "MJy sr-1",
        "Jy/beam",
        "JY/BEAM",
        "mag/arcsec2",
        "counts/arcsec^2",
        "e-/s/arcsec**2",
        "mag",
        "K",
        "K km/s",
        "UNITLESS",
        "W/m2/sr",
        "W/m^2-sr",
        "count/s/arcmin2",
        "counts/as^2",
        "ct/asec2",
        "count s-1 radian-2",
        "ELECTRONS/S/deg**2",
        "UNCALIB",
        "km/s",
        "mag(AB)",
        "ct/s/",
        "10**5",
        "K/pixel",
        "mag/pixel",
        "erg/s/cm2/A/arcsec2",
    ],
)
def test_units_that_do_not(unit):
    assert not is_per_pixel(unit)
