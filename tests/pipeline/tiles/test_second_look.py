"""Tiles that are less smooth than the others are fitted once more, and the better fit is kept."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from runs import FIT, UntidyPool, digest, request

from glassplate.pipeline.errors import GlassplateError
from glassplate.pipeline.events import StageAdvanced, TileDone, Warned
from glassplate.pipeline.pool import Failure, InlinePool
from glassplate.pipeline.provenance.journal import read_journal
from glassplate.pipeline.provenance.verify import verify
from glassplate.pipeline.run.fit_stages import tiles_journal
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.tiles import batch as restoring
from glassplate.pipeline.tiles.scratch import Scratch
from glassplate.pipeline.tiles.second_look import is_better, looked_at_again, outliers

AGAIN = {
    **FIT,
    "tiles": {**FIT["tiles"], "outliers": 0.001},
    "donor": {"tiles": 0},
}


def records(*chi2):
    return {tile: {"tile": tile, "chi2": value} for tile, value in enumerate(chi2)}


@pytest.mark.parametrize(
    ("chi2", "tolerance", "expected"),
    [
        ((1.0, 1.01, 1.2, 1.02), 0.1, [2]),
        ((1.0, 1.01, 1.05, 1.02), 0.1, []),
        ((0.5, 1.0, 1.0, 1.0), 0.1, []),  # smoother than the others is no fault
        ((1.0, None, 1.5, 1.0), 0.1, [2]),
        ((None, None), 0.1, []),
        ((), 0.1, []),
        ((1.3,), 0.1, []),
    ],
)
def test_outliers_are_told_from_the_median(chi2, tolerance, expected):
    assert outliers(records(*chi2), tolerance) == expected


def test_what_second_looks_found_changes_nothing_for_those_to_come():
    some = records(1.0, 1.0, 2.0, 3.0, 1.0)
    assert outliers(some, 0.1) == [2, 3]
    some[2] = looked_at_again({"tile": 2, "chi2": 0.1}, some[2])
    assert outliers(some, 0.1) == [3]
    assert looked_at_again(some[2], some[2])["first_chi2"] == 2.0


@pytest.mark.parametrize(
    ("second", "first", "better"),
    [
        ({"heldout_loss": 1.0, "chi2": 9.0}, {"heldout_loss": 2.0, "chi2": 1.0}, True),
        ({"heldout_loss": 2.0, "chi2": 1.0}, {"heldout_loss": 2.0, "chi2": 9.0}, False),
        ({"heldout_loss": None, "chi2": 1.0}, {"heldout_loss": 2.0, "chi2": 9.0}, True),
        ({"heldout_loss": None, "chi2": 9.0}, {"heldout_loss": None, "chi2": 1.0}, False),
    ],
)
def test_the_better_predictor_is_kept(second, first, better):
    assert is_better(second, first) is better


@pytest.fixture
def plate(tmp_path):
    """40 x 72 pixels, six tiles; rough on the right."""
    rng = np.random.default_rng(2)
    image = 100 + rng.standard_normal((40, 72))
    image[:, 48:] += 20 * np.sin(np.arange(24)) * np.sin(np.arange(40))[:, None]
    fits.writeto(tmp_path / "plate.fits", image.astype("f4"))
    return tmp_path / "plate.fits"


def last_records(store):
    return {record["tile"]: record for record in read_journal(tiles_journal(store))}


def test_the_kept_fit_is_never_the_worse_one(plate, tmp_path):
    without = {**AGAIN, "tiles": FIT["tiles"]}
    restore(request(plate, tmp_path / "once.zarr", without), InlinePool())
    restore(request(plate, tmp_path / "twice.zarr", AGAIN), InlinePool())
    once, twice = last_records(tmp_path / "once.zarr"), last_records(tmp_path / "twice.zarr")
    again = [tile for tile, record in twice.items() if "first_chi2" in record]
    assert again == outliers(once, 0.001)
    assert again
    for tile, record in twice.items():
        assert record["heldout_loss"] <= once[tile]["heldout_loss"]
        if tile not in again:
            assert record["crc32"] == once[tile]["crc32"]
    assert any(twice[tile]["crc32"] != once[tile]["crc32"] for tile in again)
    assert all(check.ok for check in verify(tmp_path / "twice.zarr"))


@pytest.mark.parametrize("seed", range(3))
def test_order_and_repetition_do_not_matter(plate, tmp_path, seed):
    restore(request(plate, tmp_path / "tidy.zarr", AGAIN), InlinePool())
    restore(request(plate, tmp_path / "untidy.zarr", AGAIN), UntidyPool(seed))
    assert digest(tmp_path / "tidy.zarr") == digest(tmp_path / "untidy.zarr")


@pytest.mark.parametrize("after", [7, 8])
def test_killed_between_second_looks_and_resumed_equals_undisturbed(plate, tmp_path, after):
    restore(request(plate, tmp_path / "whole.zarr", AGAIN), InlinePool())
    assert sum("first_chi2" in r for r in last_records(tmp_path / "whole.zarr").values()) >= 3
    with pytest.raises(KeyboardInterrupt):
        restore(request(plate, tmp_path / "cut.zarr", AGAIN), UntidyPool(interrupt_after=after))
    restore(request(plate, tmp_path / "cut.zarr", AGAIN), InlinePool())
    assert digest(tmp_path / "whole.zarr") == digest(tmp_path / "cut.zarr")


def in_batches_of(count, **more):
    return {**AGAIN, "tiles": {**AGAIN["tiles"], "batch": count, **more}}


class Watched(UntidyPool):
    """Keeps in mind which tiles were looked at again together."""

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.looks = []

    def map(self, work, tasks, tell):
        for task, outcome in super().map(work, tasks, tell):
            if is_second_look(task):
                self.looks.append(task.tiles)
            yield task, outcome


def is_second_look(task):
    return getattr(task, "earlier", None) is not None


def timeless(records):
    # the log has a column of seconds
    passing = {"seconds", "ended", "pid", "host", "log_crc32"}
    return {
        tile: {key: value for key, value in record.items() if key not in passing}
        for tile, record in records.items()
    }


@pytest.fixture
def alone(plate, tmp_path):
    """Result of first fits and second looks one by one."""
    restore(request(plate, tmp_path / "alone.zarr", AGAIN), InlinePool())
    return tmp_path / "alone.zarr"


def test_second_looks_of_a_batch_are_those_of_its_tiles_alone(plate, alone, tmp_path):
    pool = Watched()
    restore(request(plate, tmp_path / "batch.zarr", in_batches_of(3)), pool)
    assert max(map(len, pool.looks)) == 3
    assert timeless(last_records(tmp_path / "batch.zarr")) == timeless(last_records(alone))
    assert digest(tmp_path / "batch.zarr") == digest(alone)


def test_killed_between_batches_of_second_looks_goes_on_with_the_same_ones(plate, tmp_path):
    raw = in_batches_of(2, stack=2)
    whole, cut, rest = Watched(), Watched(interrupt_after=4), Watched()
    restore(request(plate, tmp_path / "whole.zarr", raw), whole)
    with pytest.raises(KeyboardInterrupt):
        restore(request(plate, tmp_path / "cut.zarr", raw), cut)
    restore(request(plate, tmp_path / "cut.zarr", raw), rest)
    assert len(whole.looks) > len(cut.looks) == 1
    assert sorted(cut.looks + rest.looks) == sorted(whole.looks)
    assert digest(tmp_path / "cut.zarr") == digest(tmp_path / "whole.zarr")


def test_tiles_of_a_batch_that_fails_have_their_second_look_alone(plate, alone, tmp_path):
    told = []
    pool = Watched(fail=lambda work, task: is_second_look(task) and len(task.tiles) > 1)
    restore(request(plate, tmp_path / "a.zarr", in_batches_of(3)), pool, told.append)
    assert {len(tiles) for tiles in pool.looks} == {1, 3}
    assert timeless(last_records(tmp_path / "a.zarr")) == timeless(last_records(alone))
    assert not any(isinstance(event, Warned) for event in told)
    looked = [event for event in told if isinstance(event, StageAdvanced)]
    looked = [(event.done, event.total) for event in looked if event.stage == "second look"]
    again = sum("first_chi2" in record for record in last_records(alone).values())
    assert looked[-1] == (again, again)


def test_a_second_look_that_diverges_costs_its_batch_no_other(plate, alone, tmp_path, monkeypatch):
    real, told, asked = restoring.fit_each, [], []

    def diverging(windows, problem, *args, start):
        # the third batch is the first of second looks
        windows = list(windows)
        asked.append(len(windows))
        for place, found in real(windows, problem, *args, start=start):
            diverged = len(asked) == 3 and place == 0
            yield place, FloatingPointError("fit: data term nan") if diverged else found

    monkeypatch.setattr(restoring, "fit_each", diverging)
    restore(request(plate, tmp_path / "a.zarr", in_batches_of(3)), InlinePool(), told.append)
    wanted, found = timeless(last_records(alone)), timeless(last_records(tmp_path / "a.zarr"))
    [first, *_] = [tile for tile, record in wanted.items() if "first_chi2" in record]
    assert [event.message for event in told if isinstance(event, Warned)] == [
        f"second look at tile {first}: FloatingPointError: fit: data term nan"
    ]
    assert [tile for tile in wanted if found[tile] != wanted[tile]] == [first]
    assert "first_chi2" not in found[first]


def test_a_full_disk_ends_second_looks_and_the_same_command_goes_on(plate, alone, tmp_path):
    class FullDisk(InlinePool):
        def map(self, work, tasks, tell):
            for task, outcome in super().map(work, tasks, tell):
                full = Failure("OSError: [Errno 28] No space left on device")
                yield task, full if is_second_look(task) else outcome

    with pytest.raises(GlassplateError, match=r"No space left.*same command again, 6 of 6 tiles"):
        restore(request(plate, tmp_path / "a.zarr", in_batches_of(3)), FullDisk())
    restore(request(plate, tmp_path / "a.zarr", in_batches_of(3)), InlinePool())
    assert digest(tmp_path / "a.zarr") == digest(alone)


class BreaksDown(InlinePool):
    """Batches of second looks fail after two tiles; `alone` is what comes of each tile then."""

    def __init__(self, alone):
        self.alone, self.written_over = alone, []

    def map(self, work, tasks, tell):
        return super().map(self.breaking_down(work), tasks, tell)

    def breaking_down(self, work):
        def break_down(task, tell):
            if not is_second_look(task):
                return work(task, tell)
            if len(task.tiles) == 1:
                return self.alone(task)
            for record in work(replace(task, tiles=task.tiles[:2]), tell):
                if record["crc32"] != task.earlier[record["tile"]]["crc32"]:
                    self.written_over.append(record["tile"])
            raise RuntimeError("the driver went away")

        return break_down


def fails(task):
    raise RuntimeError("it did not come back")


def keeps_the_first(task):
    first = task.earlier[task.tiles[0]]
    return [looked_at_again(first, first)]


@pytest.mark.parametrize("alone_comes", [fails, keeps_the_first])
def test_a_first_fit_that_stays_has_its_own_window(plate, tmp_path, alone_comes):
    pool, told = BreaksDown(alone_comes), []
    wish = request(plate, tmp_path / "a.zarr", in_batches_of(3), keep_scratch=True)
    result = restore(wish, pool, told.append)
    assert pool.written_over
    assert result.status == "complete"
    scratch = Scratch(tmp_path / "a.zarr" / ".scratch")
    for tile, record in last_records(tmp_path / "a.zarr").items():
        assert record["ok"]
        assert scratch.window_is(tile, record["crc32"])
    # zarr, which is to read all of the folder, does not know it
    shutil.rmtree(scratch.folder)
    # no other was fitted again
    fitted = [event.tile for event in told if isinstance(event, TileDone)]
    assert sorted(fitted) == sorted([*range(6), *pool.written_over])
    restore(request(plate, tmp_path / "once.zarr", {**AGAIN, "tiles": FIT["tiles"]}), InlinePool())
    assert digest(tmp_path / "a.zarr") == digest(tmp_path / "once.zarr")


def test_where_a_second_look_fails_the_first_fit_stays(plate, tmp_path):
    told = []
    pool = UntidyPool(fail=lambda work, task: is_second_look(task))
    result = restore(request(plate, tmp_path / "a.zarr", AGAIN), pool, told.append)
    assert result.status == "complete"
    assert result.summary["quarantined"] == {}
    assert any(isinstance(event, Warned) and "second look" in event.message for event in told)
