"""A plan is the same every time, covers every tile once, and promises no less than is used."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from astropy.io import fits

from glassplate.models.device.numerics import Numerics
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.memory import project
from glassplate.pipeline.planning.summary import summarise
from glassplate.pipeline.planning.timing.duration import projected_seconds
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.sources.source import SourceSpec

SMALL = {
    "network": {"channels": 4, "skip_channels": 4, "scales": 2},
    "fit": {"iterations": 10},
    "tiles": {"core": 32, "halo": 8},
}


@pytest.fixture
def sky(tmp_path):
    image = np.random.default_rng(0).normal(100, 5, (70, 100)).astype("f4")
    fits.writeto(tmp_path / "sky.fits", image)
    return SourceSpec(tmp_path / "sky.fits")


def plan_of(spec, raw=SMALL):
    return make_plan(spec, parse_recipe(raw, "test"), recipe_name="test", device="cpu")


def test_the_same_image_gives_the_same_plan(sky):
    assert plan_of(sky) == plan_of(sky)


@pytest.mark.parametrize("batch", ["auto", 1, 3, 100])
def test_batches_partition_the_tiles(sky, batch):
    plan = plan_of(sky, {**SMALL, "tiles": {"core": 32, "halo": 8, "batch": batch}})
    assert [tile for tiles in plan.batches for tile in tiles] == list(range(len(plan.grid)))


@pytest.mark.slow
def test_a_unit_of_work_has_more_tiles_than_its_stack(sky):
    stacked = {"core": 32, "halo": 8, "stack": 2, "together": "grouped"}
    plan = plan_of(sky, {**SMALL, "tiles": stacked})
    assert [len(batch) for batch in plan.batches] == [8, 4]
    assert (plan.numerics.stack, plan.numerics.together) == (2, "grouped")
    alone, together = (
        summarise(plan_of(sky, {**SMALL, "tiles": {"core": 32, "halo": 8, **tiles}}), workers=1)
        for tiles in ({"batch": 8}, stacked)
    )
    assert together.stages["restore"] > alone.stages["restore"]


def test_a_recorded_plan_keeps_what_depends_on_the_machine(sky):
    plan = plan_of(sky)
    elsewhere = replace(plan, numerics=Numerics("cpu", "fp32", "contiguous", 3))
    assert elsewhere.as_recorded(plan.recorded()) == plan


def test_the_summary_promises_what_the_design_lists(sky):
    summary = summarise(plan_of(sky), workers=2)
    assert summary.tiles == summary.batches == 12
    assert summary.output_shape == (70, 100)
    assert min(summary.host_bytes, summary.disk_bytes, summary.seconds) > 0
    assert summary.device_bytes == 0


@pytest.mark.parametrize("batch", [3, 5, 8, 100])
def test_one_worker_takes_the_same_time_however_tiles_are_batched(sky, batch):
    def seconds(tiles):
        plan = plan_of(sky, {**SMALL, "tiles": {"core": 32, "halo": 8, **tiles}})
        return projected_seconds(plan, 1, lambda *_: 0.5)

    assert seconds({"batch": batch}) == seconds({}) > 12 * 10 * 0.5


@pytest.mark.parametrize(("unit", "factor"), [("adu", 0.25), ("MJy/sr", 1.0), (None, 1.0)])
def test_sums_are_kept_where_pixels_are_counted(tmp_path, unit, factor):
    header = fits.Header([("BUNIT", unit)]) if unit else None
    fits.writeto(tmp_path / "a.fits", np.ones((20, 20), "f4"), header)
    raw = {**SMALL, "task": "superres", "operator": {"scale": 2}}
    assert plan_of(SourceSpec(tmp_path / "a.fits"), raw).flux_factor == factor


@pytest.mark.parametrize(
    ("primary", "own", "factor"),
    [("adu", None, 0.25), ("adu", "MJy/sr", 1.0), ("MJy/sr", None, 1.0), ("MJy/sr", "adu", 0.25)],
)
def test_the_unit_of_the_primary_header_counts_where_an_extension_has_none(
    tmp_path, primary, own, factor
):
    """Fluxes of an enlarged image were four times too large, as of every file of DECam."""
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((20, 20), "f4"))])
    hdus[0].header["BUNIT"] = primary
    if own:
        hdus[1].header["BUNIT"] = own
    hdus.writeto(tmp_path / "a.fits")
    raw = {**SMALL, "task": "superres", "operator": {"scale": 2}}
    assert plan_of(SourceSpec(tmp_path / "a.fits"), raw).flux_factor == factor


@pytest.mark.slow
@pytest.mark.parametrize(
    ("noise", "said"),
    [
        ({"sigma": 5.0}, None),
        ({"sigma": 9.0}, None),
        ({"sigma": 30.0}, "noise given: sigma: a standard deviation of 30, but the image shows "),
        ({"sigma": 0.5}, "noise given: sigma: a standard deviation of 0.5, but the image shows "),
        ({"model": "poisson", "gain": 4e3}, "noise given: poisson, gain: a standard deviation of "),
        ({"gain": 40.0, "read_noise": 0.0}, None),
        ({}, None),
    ],
)
def test_noise_that_contradicts_the_image_gives_a_warning(tmp_path, noise, said):
    image = 1000 + 5 * np.random.default_rng(0).standard_normal((128, 128))
    fits.writeto(tmp_path / "a.fits", image.astype("f4"))
    plan = plan_of(SourceSpec(tmp_path / "a.fits"), {**SMALL, "noise": noise})
    assert [warning.startswith(said) for warning in plan.warnings] == (
        [] if said is None else [True]
    )


@pytest.mark.parametrize(
    ("sigmas", "noise", "warned"),
    [
        ((5.0, 10.0, 20.0), {"sigma": 12.0}, True),
        ((12.0, 12.0, 12.0), {"sigma": 12.0}, False),
        ((5.0, 10.0, 20.0), {}, False),
    ],
)
def test_one_sigma_for_channels_of_different_noise_gives_a_warning(tmp_path, sigmas, noise, warned):
    """Four photographs told one sigma came to 25.4 dB, and told nothing to 32.4 (design note 025)."""
    white = np.random.default_rng(0).standard_normal((3, 128, 128))
    image = 100 + np.reshape(sigmas, (3, 1, 1)) * white
    tifffile.imwrite(
        tmp_path / "a.tif", image.astype("f4"), photometric="rgb", planarconfig="separate"
    )
    plan = plan_of(SourceSpec(tmp_path / "a.tif"), {**SMALL, "noise": noise})
    said = [warning for warning in plan.warnings if "for all channels" in warning]
    assert len(said) == warned
    if warned:
        assert "leave it out to take that of each channel" in said[0]


def test_an_absent_gpu_is_refused(sky):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UsageError, match="no CUDA device"):
        make_plan(sky, parse_recipe(SMALL, "test"), recipe_name="test", device="cuda")


STACK = ("tiles.stack=4", "fit.iterations=2", "fit.collaborative=false")


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ["identity"],
        ["astro-denoise", "fit.iterations=2"],
        ["draft", "task=superres", "operator.scale=2", "fit.iterations=2"],
        ["draft", *STACK, "tiles.core=192"],
        ["draft", *STACK, "tiles.core=128", "tiles.together=grouped", "fit.uncertainty=true"],
    ],
)
def test_projected_memory_is_at_least_what_is_measured(forks, tmp_path, settings):
    # at this size every setting has whole windows and four tiles or more; two iterations, because the second
    # is the first in which the optimiser has its moments
    image = np.random.default_rng(0).normal(100, 5, (330, 330)).astype("f4")
    fits.writeto(tmp_path / "a.fits", image)
    measured, projected = forks.call("restore_peak", str(tmp_path / "a.fits"), *settings)
    assert measured <= projected <= 1.5 * measured


def test_more_workers_need_more_memory(sky):
    plan = plan_of(sky)
    assert project(plan, workers=2).host_bytes > project(plan, workers=1).host_bytes
