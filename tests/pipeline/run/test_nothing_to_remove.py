"""Where no noise could be removed nothing is fitted, pixels stay as they are, and the run says so."""

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from runs import FIT, level0, request

from glassplate.pipeline.events import TileDone
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.summary import summarise
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.sources.source import SourceSpec

rng = np.random.default_rng(0)


def drawing(side=96):
    picture = np.full((side, side), 30)
    picture[20:50, 30:80] = 200
    return picture


def smooth(side=96):
    y, x = np.mgrid[:side, :side]
    return 100 + 30 * np.sin(x / 17) + 20 * np.cos(y / 23)


def saved(folder, pixels):
    if pixels.dtype.kind == "f":
        fits.writeto(folder / "a.fits", pixels)
        return folder / "a.fits"
    tifffile.imwrite(folder / "a.tif", pixels)
    return folder / "a.tif"


def planned(path, **sections):
    return make_plan(
        SourceSpec(path), parse_recipe({**FIT, **sections}, "test"), recipe_name="test"
    )


@pytest.mark.parametrize(
    ("pixels", "sections", "nothing"),
    [
        (drawing().astype("u1"), {}, True),
        (np.rint(smooth()).astype("u1"), {}, True),
        (np.rint(smooth()).astype("u2"), {}, True),
        (np.rint(smooth() + rng.normal(0, 1, (96, 96))).astype("u1"), {}, False),
        (np.rint(smooth()).astype("u1"), {"noise": {"sigma": 3.0}}, False),
        (np.full((96, 96), 5, "f4"), {}, True),
        ((smooth() + rng.normal(0, 0.01, (96, 96))).astype("f4"), {}, False),
        # photons are whole numbers, and fewer than rounding could lose
        (rng.poisson(0.04, (96, 96)).astype("u2"), {}, False),
        (np.rint(smooth()).astype("u1"), {"task": "superres", "operator": {"scale": 2}}, False),
        (np.rint(smooth()).astype("u1"), {"task": "identity"}, False),
    ],
    ids=[
        "drawing", "smooth u1", "smooth u2", "noisy", "given", "constant", "weak", "photons",
        "enlarged", "copied",
    ],
)  # fmt: skip
def test_it_is_found_where_there_is_only_rounding(tmp_path, pixels, sections, nothing):
    plan = planned(saved(tmp_path, pixels), **sections)
    assert plan.removes_nothing is nothing
    assert any("no noise was found" in warning for warning in plan.warnings) is nothing


def test_a_wide_unit_does_not_matter(tmp_path):
    """Integers of a FITS file with BZERO and BSCALE count in the steps of their type."""
    path = saved(tmp_path, np.rint(smooth()).astype("u2"))
    plan = planned(path)
    assert plan.removes_nothing
    assert plan.as_recorded(plan.recorded()).removes_nothing


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_pixels_are_copied_to_the_bit(tmp_path, dtype):
    pixels = np.full((60, 70), 1 / 3, dtype) if dtype.startswith("f") else drawing(70).astype(dtype)
    events = []
    path, store = saved(tmp_path, pixels), tmp_path / "a.zarr"
    result = restore(request(path, store, FIT), InlinePool(), events.append)
    np.testing.assert_array_equal(level0(store), pixels)
    done = [event for event in events if isinstance(event, TileDone)]
    assert {event.stop_reason for event in done} == {"nothing to remove"}
    assert {event.iterations for event in done} == {0}
    assert result.status == "complete"


@pytest.mark.slow
def test_holes_are_filled_all_the_same(tmp_path):
    pixels = np.full((60, 80), 7, "f4")
    pixels[4:9, 50:60] = np.nan
    store = tmp_path / "a.zarr"
    recipe = {**FIT, "output": {**FIT.get("output", {}), "invalid": "fill"}}
    result = restore(request(saved(tmp_path, pixels), store, recipe), InlinePool())
    restored = level0(store)
    assert np.isfinite(restored).all()
    assert (restored[:, :24] == 7).all()
    assert "nothing to remove" in result.summary.stop_reasons
    assert result.summary.filled_pixels == 50


def test_a_plan_of_copies_takes_no_time_for_fits(tmp_path):
    plan = planned(saved(tmp_path, drawing().astype("u1")))
    summary = summarise(plan, workers=1)
    assert not plan.fits
    assert not plan.warm
    assert summary.seconds < 10
    assert summary.noise_found is not None
