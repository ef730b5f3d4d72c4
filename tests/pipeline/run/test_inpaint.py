"""Inpainting keeps valid pixels bit for bit, fills the others, and fits only the tiles that have some."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from astropy.io import fits
from runs import FIT, UntidyPool, digest, level0, request

from glassplate.pipeline.events import TileDone
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.provenance.verify import verify
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tasks import TASKS
from glassplate.pipeline.tile_grid import TileGrid

FILL = {**FIT, "task": "inpaint", "donor": {"tiles": 0}}
HOLE = np.s_[4:9, 50:60]


@pytest.fixture
def plate(tmp_path):
    """A smooth FITS of 60 x 80 pixels with a hole that only its right tiles see; and the truth."""
    y, x = np.mgrid[:60, :80]
    truth = (1000 + 3 * x + 2 * y + 40 * np.sin(x / 7)).astype("f4")
    holed = truth.copy()
    holed[HOLE] = np.nan
    fits.writeto(tmp_path / "plate.fits", holed)
    return tmp_path / "plate.fits", truth


def group_of(store):
    return zarr.open_group(str(store), mode="r")


@pytest.mark.slow
def test_valid_pixels_are_unchanged_and_the_hole_is_filled(plate, tmp_path):
    path, truth = plate
    result = restore(request(path, tmp_path / "a.zarr", FILL), InlinePool())
    filled = level0(tmp_path / "a.zarr")
    hole = np.zeros(truth.shape, bool)
    hole[HOLE] = True
    np.testing.assert_array_equal(filled[~hole], truth[~hole])
    assert np.isfinite(filled[hole]).all()
    group = group_of(tmp_path / "a.zarr")
    np.testing.assert_array_equal(group["filled"][...], hole)
    assert np.all(group["residual"][...][~hole] == 0)
    assert result.summary.filled_pixels == hole.sum()
    assert all(check.ok for check in verify(tmp_path / "a.zarr"))


@pytest.mark.slow
def test_tiles_without_a_hole_are_not_fitted(plate, tmp_path):
    events = []
    restore(request(plate[0], tmp_path / "a.zarr", FILL), InlinePool(), events.append)
    done = [event for event in events if isinstance(event, TileDone)]
    idle = {event.tile for event in done if event.iterations == 0}
    grid, hole = TileGrid((1, 60, 80), True, **FIT["tiles"]), np.isnan(fits.getdata(plate[0]))
    whole = {n for n in range(len(grid)) if not hole[grid.tile(n).window.slices].any()}
    assert idle == whole
    assert 0 < len(idle) < len(grid)
    reasons = {event.stop_reason for event in done if event.tile in idle}
    assert reasons == {TASKS["inpaint"].copied_because}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_mask_marks_what_is_filled(tmp_path, dtype, channels):
    rng = np.random.default_rng(1)
    shape = (40, 50, 3)[: 2 if channels == 1 else 3]
    image = rng.uniform(10, 100, shape).astype(dtype)
    mask = np.zeros((40, 50), "u1")
    mask[10:14, 20:24] = 255
    tifffile.imwrite(
        tmp_path / "a.tif", image, photometric="rgb" if channels == 3 else "minisblack"
    )
    tifffile.imwrite(tmp_path / "m.tif", mask)
    spec = SourceSpec(tmp_path / "a.tif", mask=tmp_path / "m.tif")
    result = restore(request(spec, tmp_path / "a.zarr", FILL), InlinePool())
    filled = level0(tmp_path / "a.zarr")
    assert filled.dtype == image.dtype
    planes = np.moveaxis(image, -1, 0) if channels == 3 else image
    np.testing.assert_array_equal(filled[..., mask == 0], planes[..., mask == 0])
    assert np.any(filled[..., mask > 0] != planes[..., mask > 0])
    assert result.summary.filled_pixels == 16 * channels
    residual = group_of(tmp_path / "a.zarr")["residual"][...]
    if dtype != "f4":  # the step is reversible, the hole included
        np.testing.assert_array_equal(filled.astype("i8") + residual, planes)


@pytest.mark.slow
def test_order_repetition_and_interruptions_change_nothing(plate, tmp_path):
    restore(request(plate[0], tmp_path / "a.zarr", FILL), InlinePool())
    with pytest.raises(KeyboardInterrupt):
        restore(request(plate[0], tmp_path / "b.zarr", FILL), UntidyPool(3, interrupt_after=5))
    restore(request(plate[0], tmp_path / "b.zarr", FILL), UntidyPool(4))
    assert digest(tmp_path / "a.zarr") == digest(tmp_path / "b.zarr")


@pytest.mark.slow
def test_a_batch_may_mix_tiles_with_and_without_a_hole(plate, tmp_path):
    together = {**FILL, "tiles": {**FILL["tiles"], "batch": 5}}
    restore(request(plate[0], tmp_path / "a.zarr", FILL), InlinePool())
    restore(request(plate[0], tmp_path / "b.zarr", together), InlinePool())
    np.testing.assert_array_equal(level0(tmp_path / "a.zarr"), level0(tmp_path / "b.zarr"))


def test_an_image_without_a_hole_is_copied(tmp_path):
    image = np.random.default_rng(0).normal(5, 1, (50, 40)).astype("f4")
    fits.writeto(tmp_path / "a.fits", image)
    result = restore(request(tmp_path / "a.fits", tmp_path / "a.zarr", FILL), InlinePool())
    np.testing.assert_array_equal(level0(tmp_path / "a.zarr"), image)
    assert result.summary.filled_pixels == 0
    assert result.summary.stop_reasons == {TASKS["inpaint"].copied_because: 4}


@pytest.mark.slow
def test_a_quarantined_tile_keeps_its_valid_pixels(plate, tmp_path):
    path, truth = plate

    def hole_tiles(work, task):
        return work.__name__ == "restore_batch" and 2 in task.tiles

    restore(request(path, tmp_path / "a.zarr", FILL), UntidyPool(fail=hole_tiles))
    filled = level0(tmp_path / "a.zarr")
    known = np.isfinite(fits.getdata(path))
    np.testing.assert_array_equal(filled[known], truth[known])


@pytest.mark.slow
def test_filling_is_learned_from_the_surroundings(tmp_path):
    """Half the pixels of a pattern are missing; a fit finds them better than their neighbours' mean."""
    y, x = np.mgrid[:48, :48]
    truth = (100 + 50 * np.sin(x / 2.2 + y / 9)).astype("f4")
    missing = np.random.default_rng(0).random(truth.shape) < 0.5
    fits.writeto(tmp_path / "a.fits", np.where(missing, np.nan, truth))
    raw = {
        "task": "inpaint",
        "network": {"channels": 16, "scales": 3, "skip_channels": 16},
        "fit": {"iterations": 250},
        "tiles": {"core": 64},
    }
    restore(request(tmp_path / "a.fits", tmp_path / "a.zarr", raw), InlinePool())
    error = (level0(tmp_path / "a.zarr") - truth)[missing]
    known = np.where(missing, 0, truth)
    sums, counts = (
        sum(np.roll(a, shift, axis) for axis in (0, 1) for shift in (-1, 1))
        for a in (known, (~missing).astype("f4"))
    )
    neighbours = (np.where(counts > 0, sums / np.maximum(counts, 1), 100) - truth)[missing]
    assert np.mean(error**2) < 0.25 * np.mean(neighbours**2)


@pytest.mark.parametrize(
    ("raw", "fills"),
    [
        ({"task": "inpaint"}, True),
        ({"output": {"invalid": "fill"}}, True),
        ({}, False),
        ({"task": "identity", "output": {"invalid": "fill"}}, False),
    ],
)
def test_which_recipes_fill(raw, fills):
    assert parse_recipe(raw, "t").fills is fills


@pytest.mark.slow
def test_denoising_that_fills_marks_the_filled_pixels(plate, tmp_path):
    raw = {**FIT, "output": {**FIT["output"], "invalid": "fill"}}
    restore(request(plate[0], tmp_path / "a.zarr", raw), InlinePool())
    hole = ~np.isfinite(fits.getdata(plate[0]))
    np.testing.assert_array_equal(group_of(tmp_path / "a.zarr")["filled"][...], hole)
    assert np.isfinite(level0(Path(tmp_path / "a.zarr"))).all()
