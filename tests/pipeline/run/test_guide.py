"""A guide, a second image of the same scene, is read with the image and part of the run's identity."""

import numpy as np
import pytest
import tifffile
import zarr
from astropy.io import fits
from runs import FIT, UntidyPool, digest, level0, request

from glassplate.pipeline.errors import SourceError, StoreError, UsageError
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.memory import project
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.provenance.verify import verify
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

GUIDED = {**FIT, "task": "guided"}


@pytest.fixture
def pair(tmp_path):
    """A noisy FITS of 50 x 70 pixels and a clean one of the same scene, with some NaN."""
    y, x = np.mgrid[:50, :70]
    scene = 100 + 40 * ((x // 9 + y // 9) % 2)
    rng = np.random.default_rng(0)
    fits.writeto(tmp_path / "short.fits", (scene + rng.normal(0, 10, scene.shape)).astype("f4"))
    guide = (7 * scene + rng.normal(0, 1, scene.shape)).astype("f4")
    guide[3, 5:8] = np.nan
    fits.writeto(tmp_path / "long.fits", guide)
    return SourceSpec(tmp_path / "short.fits", guide=tmp_path / "long.fits")


def test_the_guide_is_read_with_the_image(pair):
    source = open_source(pair)
    pixels = source.read(Box(0, 10, 2, 30))
    np.testing.assert_array_equal(pixels.guide[0], fits.getdata(pair.guide)[:10, 2:30])
    assert pixels.valid.all()
    source.close()


@pytest.mark.slow
def test_a_guide_changes_the_result(pair, tmp_path):
    restore(request(pair, tmp_path / "a.zarr", GUIDED), InlinePool())
    alone = SourceSpec(pair.path)
    restore(request(alone, tmp_path / "b.zarr", FIT), InlinePool())
    assert np.isfinite(level0(tmp_path / "a.zarr")).all()
    assert not np.array_equal(level0(tmp_path / "a.zarr"), level0(tmp_path / "b.zarr"))
    assert {check.name for check in verify(tmp_path / "a.zarr")} >= {"source", "guide"}
    assert all(check.ok for check in verify(tmp_path / "a.zarr"))


@pytest.mark.slow
def test_the_unit_of_the_guide_does_not_matter(pair, tmp_path):
    fits.writeto(tmp_path / "other.fits", 1e-9 * fits.getdata(pair.guide) + 1e-7)
    other = SourceSpec(pair.path, guide=tmp_path / "other.fits")
    restore(request(pair, tmp_path / "a.zarr", GUIDED), InlinePool())
    restore(request(other, tmp_path / "b.zarr", GUIDED), InlinePool())
    np.testing.assert_allclose(level0(tmp_path / "a.zarr"), level0(tmp_path / "b.zarr"), atol=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["guided", "inpaint", "superres"])
def test_order_and_interruptions_do_not_matter(pair, tmp_path, task):
    raw = {**GUIDED, "task": task, "operator": {"scale": 2 if task == "superres" else 1}}
    restore(request(pair, tmp_path / "a.zarr", raw), InlinePool())
    with pytest.raises(KeyboardInterrupt):
        restore(request(pair, tmp_path / "b.zarr", raw), UntidyPool(3, interrupt_after=3))
    restore(request(pair, tmp_path / "b.zarr", raw), UntidyPool(4))
    assert digest(tmp_path / "a.zarr") == digest(tmp_path / "b.zarr")


@pytest.mark.slow
def test_a_run_does_not_resume_with_another_guide(pair, tmp_path):
    restore(request(pair, tmp_path / "a.zarr", GUIDED), InlinePool())
    fits.writeto(tmp_path / "other.fits", np.ones((50, 70), "f4"))
    other = SourceSpec(pair.path, guide=tmp_path / "other.fits")
    with pytest.raises(StoreError, match=r"made from another guide than .*other\.fits"):
        restore(request(other, tmp_path / "a.zarr", GUIDED), InlinePool())


@pytest.mark.slow
def test_a_colour_guide_has_three_planes_and_its_memory_is_projected(tmp_path):
    rng = np.random.default_rng(0)
    tifffile.imwrite(tmp_path / "a.tif", rng.integers(0, 255, (40, 50), "u1"))
    tifffile.imwrite(tmp_path / "g.tif", rng.integers(0, 255, (40, 50, 3), "u1"), photometric="rgb")
    spec = SourceSpec(tmp_path / "a.tif", guide=tmp_path / "g.tif")
    plan = make_plan(spec, parse_recipe(GUIDED, "t"), recipe_name="t")
    assert plan.problem.guide_channels == plan.guide_channels == 3
    alone = make_plan(SourceSpec(tmp_path / "a.tif"), parse_recipe(FIT, "t"), recipe_name="t")
    assert project(plan, workers=1).host_bytes > project(alone, workers=1).host_bytes
    restore(request(spec, tmp_path / "a.zarr", GUIDED), InlinePool())
    assert zarr.open_group(str(tmp_path / "a.zarr"), mode="r")["0"].shape == (40, 50)


def test_a_guide_of_another_size_is_refused(pair, tmp_path):
    fits.writeto(tmp_path / "small.fits", np.ones((49, 70), "f4"))
    spec = SourceSpec(pair.path, guide=tmp_path / "small.fits")
    with pytest.raises(SourceError, match=r"guide .*small.fits: shape \(1, 49, 70\) does not fit"):
        restore(request(spec, tmp_path / "a.zarr", GUIDED), InlinePool())


def test_a_missing_or_unused_guide_is_refused(pair, tmp_path):
    with pytest.raises(UsageError, match="task guided needs a second image; add --guide FILE"):
        restore(request(pair.path, tmp_path / "a.zarr", GUIDED), InlinePool())
    with pytest.raises(UsageError, match="task identity uses no guide; drop it"):
        restore(request(pair, tmp_path / "a.zarr", {**GUIDED, "task": "identity"}), InlinePool())
    decoder = {**GUIDED, "network": {"kind": "decoder"}}
    with pytest.raises(UsageError, match="decoder sees nothing but a small random code; drop"):
        restore(request(pair, tmp_path / "a.zarr", decoder), InlinePool())
