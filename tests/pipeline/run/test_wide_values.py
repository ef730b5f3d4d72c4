"""A result is as precise as its source, whatever the level, the unit and the type of its values."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from runs import COPY, FIT, level0, request
from xisf_files import write_xisf

from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.export.export import export
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.sources.metadata.units import MOST_LEVEL, pedestal_of
from glassplate.pipeline.sources.source import SourceSpec

SKY = np.random.default_rng(5).normal(0, 1, (50, 70))
REPAIR = {**FIT, "task": "inpaint"}
# level, noise and type of the values
WIDE = {
    "a pedestal of 1e7": (1e7, 1, "f8"),
    "a pedestal of -1e12": (-1e12, 1, "f8"),
    "one as far above its noise as a double allows": (1e15, 10, "f8"),
    "1e-30": (0, 1e-30, "f8"),
    "1e30": (3e30, 1e30, "f8"),
    "1e300": (0, 1e300, "f8"),
    "whole numbers of 32 bits": (2**30, 1000, "i4"),
    "whole numbers of 64 bits": (2**52, 1000, "i8"),
    "unsigned ones": (2**31, 1000, "u4"),
}


def made(path, level, noise, dtype):
    values = (level + noise * SKY).astype(dtype)
    fits.writeto(path, values)
    return values


@pytest.mark.parametrize("kind", WIDE)
def test_a_copy_is_exact(tmp_path, kind):
    values = made(tmp_path / "a.fits", *WIDE[kind])
    restore(request(tmp_path / "a.fits", tmp_path / "o.zarr", COPY), InlinePool())
    exported = fits.getdata(export(tmp_path / "o.zarr", tmp_path / "out.fits"))
    assert exported.dtype == ">f8"
    np.testing.assert_array_equal(exported, values.astype("f8"))
    assert (exported.astype(values.dtype) == values).all()


def test_doubles_of_other_formats_are_exact_too(tmp_path):
    """They were flattened to float32: of 1e7 and noise of 1 the noise was lost."""
    level, noise, dtype = WIDE["a pedestal of 1e7"]
    tifffile.imwrite(tmp_path / "a.tif", (level + noise * SKY).astype(dtype))
    write_xisf(tmp_path / "a.xisf", (level + noise * SKY).astype(dtype))
    for name in ("a.tif", "a.xisf"):
        restore(request(tmp_path / name, tmp_path / f"{name}.zarr", COPY), InlinePool())
        exported = tifffile.imread(export(tmp_path / f"{name}.zarr", tmp_path / f"{name}.out.tif"))
        assert exported.dtype == np.float64
        np.testing.assert_array_equal(exported, level + noise * SKY)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The restoration of the noise around 0."""
    folder = tmp_path_factory.mktemp("plain")
    fits.writeto(folder / "a.fits", SKY)
    restore(request(folder / "a.fits", folder / "o.zarr", FIT), InlinePool())
    return level0(folder / "o.zarr")


@pytest.mark.parametrize("kind", ["a pedestal of -1e12", "1e-30", "whole numbers of 64 bits"])
def test_a_restoration_is_that_of_the_noise_alone(tmp_path, plain, kind):
    """What is restored does not depend on the level: float32 lost the noise at 1e9."""
    level, noise, dtype = WIDE[kind]
    made(tmp_path / "a.fits", level, noise, dtype)
    restore(request(tmp_path / "a.fits", tmp_path / "o.zarr", FIT), InlinePool())
    found = level0(tmp_path / "o.zarr")
    assert found.dtype == np.float64
    # values are rounded to steps of 1e-4 to 1e-3 of the noise, and similar blocks may be other ones
    assert np.std((found - float(level)) / noise - plain) < 0.1 * np.std(plain)


def test_pixels_that_are_not_filled_are_exact(tmp_path):
    values = made(tmp_path / "a.fits", *WIDE["a pedestal of 1e7"])
    mask = np.zeros(values.shape, "u1")
    mask[10:14, 20:30] = 1
    fits.writeto(tmp_path / "m.fits", mask)
    spec = request(tmp_path / "a.fits", tmp_path / "o.zarr", REPAIR).spec
    spec = replace(spec, mask=tmp_path / "m.fits")
    restore(request(spec, tmp_path / "o.zarr", REPAIR), InlinePool())
    result = level0(tmp_path / "o.zarr")
    np.testing.assert_array_equal(result[mask == 0], values[mask == 0])
    assert np.isfinite(result).all()


def test_a_run_resumes_with_the_pedestal_that_it_began_with(tmp_path):
    made(tmp_path / "a.fits", *WIDE["a pedestal of 1e7"])
    recipe = parse_recipe(FIT, "test")
    plan = make_plan(SourceSpec(tmp_path / "a.fits"), recipe, recipe_name="test", device="cpu")
    recorded = plan.recorded()
    assert recorded.pedestal == pytest.approx(1e7, abs=2)
    other = replace(plan, findings=replace(plan.findings, pedestal=0.0))
    assert other.as_recorded(recorded).findings == plan.findings


@pytest.mark.parametrize("dtype", ["i8", "u8"])
@pytest.mark.parametrize("recipe", [COPY, FIT], ids=["copy", "fit"])
def test_integers_that_no_double_holds_are_refused_before_anything_is_written(
    tmp_path, dtype, recipe
):
    values = np.full((50, 70), 1000, dtype)
    values[41, 63] = 2**53 + 1  # one pixel, which samples of the image may miss
    fits.writeto(tmp_path / "a.fits", values)
    with pytest.raises(SourceError, match=r"holds integers of 9\.0072e\+15, and beyond 2\*\*53"):
        restore(request(tmp_path / "a.fits", tmp_path / "o.zarr", recipe), InlinePool())
    assert not list(tmp_path.glob("*.zarr"))


@pytest.mark.parametrize("unit", [1e-300, 1e300])
def test_values_whose_squares_are_no_doubles_are_refused(tmp_path, unit):
    fits.writeto(tmp_path / "a.fits", SKY * unit)
    with pytest.raises(SourceError, match=r"must be between 2\*\*-448 and 2\*\*448; multiply"):
        restore(request(tmp_path / "a.fits", tmp_path / "o.zarr", FIT), InlinePool())


def test_counts_have_no_pedestal(tmp_path):
    made(tmp_path / "a.fits", *WIDE["a pedestal of 1e7"])
    recipe = {**FIT, "noise": {"model": "poisson"}}
    with pytest.raises(UsageError, match=r"level of 1e\+07 is more than 16384 times its noise"):
        restore(request(tmp_path / "a.fits", tmp_path / "o.zarr", recipe), InlinePool())


@given(
    level=st.floats(-1e15, 1e15),
    sigma=st.floats(1e-3, 1e6),
    whole=st.booleans(),
)
def test_a_pedestal_leaves_little_and_costs_nothing(level, sigma, whole):
    values = (level + sigma * SKY[:4, :5]).round() if whole else level + sigma * SKY[:4, :5]
    sample = (values[None], np.ones((1, 4, 5), bool))
    dtype = np.dtype("i8" if whole else "f8")
    found = pedestal_of([sample], sigma, dtype)
    if not found:
        assert abs(np.median(values)) <= MOST_LEVEL * sigma
        return
    assert abs(np.median(values) - found) <= max(2 * sigma, 1)
    np.testing.assert_array_equal((values - found) + found, values)
    assert found == round(found) or not whole
