"""A donor depends on the plan alone; it is fitted once, and again to the same bytes if it is lost."""

import json

import numpy as np
import pytest
from astropy.io import fits
from runs import FIT, UntidyPool, digest, request

from glassplate.pipeline.errors import GlassplateError, StoreError
from glassplate.pipeline.events import StageStarted
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.pools import pool
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.sources.sample_windows import sample_boxes, sample_windows
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box
from glassplate.pipeline.tiles import donor as module
from glassplate.pipeline.tiles.donor import DonorFile, DonorTask, donor_is, read_donor


@pytest.fixture
def sky(tmp_path):
    image = 100 + np.random.default_rng(0).normal(0, 5, (50, 70)).cumsum(1)
    fits.writeto(tmp_path / "sky.fits", image.astype("f4"))
    return tmp_path / "sky.fits"


def only_donors(work, task):
    return isinstance(task, DonorTask)


def stages(run):
    events = []
    run(events.append)
    return [event.stage for event in events if isinstance(event, StageStarted)]


class Stand:
    """A source of one shape, for where windows lie."""

    def __init__(self, shape, joint=True):
        self.shape, self.joint, self.colours = shape, joint, 1


class TestWindows:
    @pytest.mark.parametrize("count", [65, 100, 288])
    def test_are_more_than_those_of_the_noise_where_more_are_asked_for(self, count):
        # regression: a donor for 288 windows had 64
        found = [box for box, _ in sample_windows(Stand((1, 3000, 3000)), count)]
        assert len(set(found)) == count
        ends = [(box.y0, box.x0, box.y1, box.x1) for box in found]
        assert np.min(ends) < 200
        assert np.max(ends) > 2800

    @pytest.mark.parametrize("count", [1, 2, 5, 32, 64])
    def test_are_spread_over_the_sampled_ones(self, count):
        source = Stand((1, 3000, 3000))
        found = [box for box, _ in sample_windows(source, count)]
        everywhere = sample_boxes(source.shape)
        assert len(found) == len(set(found)) == min(count, len(everywhere))
        assert set(found) <= set(everywhere)
        centre = np.mean([(box.y0 + box.y1) / 2 for box in found])
        assert abs(centre - 1500) < 300

    def test_of_a_cube_go_through_the_planes(self):
        planes = [planes for _, planes in sample_windows(Stand((4, 2000, 2000), joint=False), 8)]
        assert planes == [(n // 2, n // 2 + 1) for n in range(8)]

    def test_of_a_small_image_are_all_of_it(self):
        assert sample_windows(Stand((3, 40, 60)), 9) == [(Box(0, 40, 0, 60), None)]


class TestPlan:
    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({}, True),
            ({"donor": {"tiles": 0}}, False),
            ({"donor": {"tiles": 6}}, True),
            ({"donor": {"tiles": 7}}, False),
            ({"task": "identity"}, False),
            ({"fit": {"input": "noise"}}, False),
            ({"task": "superres", "operator": {"scale": 2}}, False),
        ],
    )
    def test_tiles_start_warm_if_there_are_enough_and_the_input_is_a_measurement(
        self, sky, changes, expected
    ):
        plan = make_plan(SourceSpec(sky), parse_recipe({**FIT, **changes}, "t"), recipe_name="t")
        assert len(plan.grid) == 6
        assert plan.warm is expected
        assert plan.recorded().warm is expected


class TestRun:
    @pytest.mark.slow
    def test_is_made_first_and_once(self, sky, tmp_path):
        store = tmp_path / "a.zarr"
        first = stages(lambda listener: restore(request(sky, store, FIT), InlinePool(), listener))
        assert first[:2] == ["donor", "restore"]
        [line] = (store / "provenance" / "donor.jsonl").read_text().splitlines()
        record = json.loads(line)
        assert record["iterations"] == 2
        assert donor_is(DonorFile(store / "provenance" / "donor.npz", record["sha256"]))

    @pytest.mark.slow
    def test_changes_the_tiles(self, sky, tmp_path):
        for name, tiles in (("a", 0), ("b", 4)):
            restore(
                request(sky, tmp_path / f"{name}.zarr", {**FIT, "donor": {"tiles": tiles}}),
                InlinePool(),
            )
        assert digest(tmp_path / "a.zarr") != digest(tmp_path / "b.zarr")
        assert not (tmp_path / "a.zarr" / "provenance" / "donor.npz").exists()

    @pytest.mark.slow
    @pytest.mark.parametrize("damage", ["none", "cut", "gone", "torn journal"])
    def test_a_run_killed_after_it_resumes_to_the_same_bytes(self, sky, tmp_path, damage):
        whole, store = tmp_path / "whole.zarr", tmp_path / "a.zarr"
        restore(request(sky, whole, FIT), InlinePool())
        with pytest.raises(KeyboardInterrupt):
            restore(request(sky, store, FIT), UntidyPool(interrupt_after=3))
        weights, journal = (store / "provenance" / n for n in ("donor.npz", "donor.jsonl"))
        if damage == "cut":
            weights.write_bytes(weights.read_bytes()[:100])
        elif damage == "gone":
            weights.unlink()
        elif damage == "torn journal":
            journal.write_bytes(journal.read_bytes()[:-5])
        again = stages(lambda listener: restore(request(sky, store, FIT), InlinePool(), listener))
        assert ("donor" in again) == (damage != "none")
        assert digest(store) == digest(whole)
        assert weights.read_bytes() == (whole / "provenance" / "donor.npz").read_bytes()

    def test_a_failure_names_the_way_out(self, sky, tmp_path):
        with pytest.raises(
            GlassplateError, match=r"fitting the donor failed.*--set donor\.tiles=0"
        ):
            restore(request(sky, tmp_path / "a.zarr", FIT), UntidyPool(fail=only_donors))

    def test_its_progress_is_reported(self, sky, tmp_path, monkeypatch):
        monkeypatch.setattr(pool, "PROGRESS_PERIOD_S", 0.0)
        messages = []
        plan = make_plan(SourceSpec(sky), parse_recipe(FIT, "t"), recipe_name="t")
        module.make_donor(DonorTask(plan, tmp_path / "d.npz"), messages.append)
        assert [message["done"] for message in messages] == [1, 2]


def test_damaged_weights_are_refused(tmp_path):
    (tmp_path / "d.npz").write_bytes(b"nonsense")
    with pytest.raises(StoreError, match="missing or damaged; give the same"):
        read_donor(DonorFile(tmp_path / "d.npz", "0" * 64))
