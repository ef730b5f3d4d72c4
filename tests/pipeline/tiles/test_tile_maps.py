"""Maps and logs have one value for each tile; the seam score is the difference between neighbours."""

import numpy as np
import pytest
import zarr
from astropy.io import fits

from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.provenance.records import TileRecord, read_tile_records
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import TileGrid
from glassplate.pipeline.tiles.scratch import Scratch
from glassplate.pipeline.tiles.tile_maps import count_reasons, seam_score

RAW = {
    "donor": {"tiles": 0},
    "fit": {"iterations": 6, "log_period": 2},
    "network": {"channels": 4, "skip_channels": 4, "scales": 2},
    "tiles": {"core": 24, "halo": 6},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quality")
    image = np.random.default_rng(0).normal(100, 5, (40, 60)).astype("f4")
    fits.writeto(folder / "sky.fits", image)
    recipe = parse_recipe(RAW, "test")
    restore(
        RestoreRequest(SourceSpec(folder / "sky.fits"), folder / "a.zarr", recipe, "test", "cpu"),
        InlinePool(),
    )
    return folder / "a.zarr"


@pytest.mark.slow
def test_every_tile_has_its_place_in_every_map(store):
    maps = zarr.open_group(store / "quality", mode="r")
    assert set(maps.array_keys()) == {
        "best_iteration", "chi2", "heldout_loss", "iterations", "seam", "seconds", "stop_reason",
        "whiteness",
    }  # fmt: skip
    for name in maps.array_keys():
        assert maps[name].shape == (1, 2, 3), name
        assert maps[name].attrs["meaning"]
        assert np.isfinite(maps[name][...]).all() or name == "seam"
    records = {r.tile: r.iterations for r in read_tile_records(store)}
    assert maps["iterations"][...].ravel().tolist() == [records[tile] for tile in range(6)]
    codes = maps["stop_reason"].attrs["codes"]
    assert {codes[int(code)] for code in maps["stop_reason"][...].ravel()} == {"iteration cap"}


def test_the_iteration_log_has_a_row_for_each_tile(store):
    log = zarr.open_group(store / "iterations", mode="r")
    assert set(log.array_keys()) == {
        "iteration",
        "data_term",
        "heldout_loss",
        "chi2",
        "seconds",
    }
    np.testing.assert_array_equal(log["iteration"][...], np.tile([2.0, 4.0, 6.0], (6, 1)))
    assert np.all(np.diff(log["seconds"][...], axis=1) > 0)


def test_tiles_that_agree_have_no_seam(tmp_path):
    grid, scratch = TileGrid((1, 40, 80), True, 40, 8), Scratch(tmp_path)
    scene = np.random.default_rng(0).normal(size=(1, 40, 80)).astype("f4")
    offsets = {0: 0.0, 1: 0.0}
    for tile in range(2):
        window = scene[(slice(None), *grid.tile(tile).window.slices)]
        scratch.write_window(tile, window + offsets[tile])
    assert seam_score(grid, 0, scratch, {0, 1}) == 0
    scratch.write_window(1, scene[(slice(None), *grid.tile(1).window.slices)] + 3.0)
    assert seam_score(grid, 0, scratch, {0, 1}) == pytest.approx(3, rel=1e-6)
    assert np.isnan(seam_score(grid, 1, scratch, {0, 1})), "no neighbour to the right"
    assert np.isnan(seam_score(grid, 0, scratch, {0})), "its neighbour was quarantined"


def test_reasons_are_counted_most_frequent_first():
    records = [TileRecord(0, 0, 0, 1, reason, 0.0) for reason in ("b", "a", "b", "c", "a", "b")]
    assert list(count_reasons(records).items()) == [("b", 3), ("a", 2), ("c", 1)]
