"""The whole path: identity gives back the input, order does not matter, resumed equals undisturbed."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import COPY, FIT, UntidyPool, digest, fails_at, level0, request

from glassplate.pipeline.errors import (
    CapacityError,
    ChangedError,
    GlassplateError,
    SourceError,
    StoreError,
    UsageError,
)
from glassplate.pipeline.events import RunEnded, RunStarted, StageStarted, TileDone, Warned
from glassplate.pipeline.failures import Failure
from glassplate.pipeline.planning.plan_files import plan_files
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.provenance import identity
from glassplate.pipeline.provenance.inspect import inspect_result
from glassplate.pipeline.provenance.verify import verify
from glassplate.pipeline.recipes.recipe import sha256_of_recipe
from glassplate.pipeline.run import restore as run
from glassplate.pipeline.run.finished import complete_result
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tiles import batch as batch_module


@pytest.fixture
def sky(tmp_path):
    """A FITS of 50 x 70 pixels with stars, noise and a few NaN."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:50, :70]
    image = 100 + 500 * np.exp(-((y - 20) ** 2 + (x - 33) ** 2) / 8) + rng.normal(0, 5, (50, 70))
    image[4:6, 7:10] = np.nan
    fits.writeto(tmp_path / "sky.fits", image.astype("f4"))
    return tmp_path / "sky.fits"


def test_viewers_are_told_the_size_of_a_pixel_and_the_range_of_values(sky, tmp_path):
    wcs = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -0.5 / 3600, "CDELT2": 0.5 / 3600}
    with fits.open(sky, "update") as hdus:
        hdus[0].header.update(wcs)
    restore(request(sky, tmp_path / "a.zarr", COPY), InlinePool())
    ome = zarr.open_group(tmp_path / "a.zarr", mode="r").attrs["ome"]
    (image,) = ome["multiscales"]
    assert [axis["unit"] for axis in image["axes"]] == ["arcsecond", "arcsecond"]
    scale = image["datasets"][1]["coordinateTransformations"][0]["scale"]
    assert scale == pytest.approx([1.0, 1.0])
    window = ome["omero"]["channels"][0]["window"]
    assert 80 < window["start"] < 100 < window["end"] < 500


@pytest.mark.slow
@settings(max_examples=12)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(16, 60),
    st.integers(0, 20),
    st.sampled_from([16, 32]),
    st.sampled_from([16, 64]),
    st.sampled_from([">f4", ">i2", "u1"]),
)
def test_identity_gives_back_the_input_exactly(height, width, core, halo, chunk, shard, dtype):
    rng = np.random.default_rng(height * 100 + width)
    image = (rng.normal(size=(height, width)) * 50 + 100).clip(0, 255).astype(dtype)
    raw = {
        "task": "identity",
        "tiles": {"core": core, "halo": halo},
        "output": {"chunk": chunk, "shard": shard},
    }
    with tempfile.TemporaryDirectory() as folder:
        path, store = Path(folder) / "a.fits", Path(folder) / "a.zarr"
        fits.writeto(path, image)
        result = restore(request(path, store, raw), UntidyPool(height))
        assert result.status == "complete"
        np.testing.assert_array_equal(level0(store), image.astype("f4"))
        group = zarr.open_group(str(store), mode="r")
        assert np.all(group["footprint"][...] == 1)
        assert np.all(group["residual"][...] == 0)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "f4"])
@pytest.mark.parametrize("channels", [1, 3])
def test_identity_of_a_tiff_keeps_its_type(tmp_path, dtype, channels):
    rng = np.random.default_rng(1)
    limits = np.iinfo(dtype) if dtype != "f4" else np.finfo("f4")
    shape = (40, 50, 3)[: 2 if channels == 1 else 3]
    image = rng.uniform(limits.min / 2, limits.max / 2, shape).astype(dtype)
    photometric = "rgb" if channels == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", image, photometric=photometric)
    restore(request(tmp_path / "a.tif", tmp_path / "a.zarr", COPY), InlinePool())
    restored = level0(tmp_path / "a.zarr")
    assert restored.dtype == image.dtype
    np.testing.assert_array_equal(restored, np.moveaxis(image, -1, 0) if channels == 3 else image)


@pytest.mark.slow
def test_nan_stays_nan_and_the_residual_says_what_was_removed(sky, tmp_path):
    restore(request(sky, tmp_path / "a.zarr", FIT), InlinePool())
    group, image = zarr.open_group(str(tmp_path / "a.zarr"), mode="r"), fits.getdata(sky)
    restored, residual = group["0"][...], group["residual"][...]
    np.testing.assert_array_equal(np.isnan(restored), np.isnan(image))
    np.testing.assert_array_equal(np.isnan(residual), np.isnan(image))
    valid = np.isfinite(image)
    np.testing.assert_allclose((restored + residual)[valid], image[valid], rtol=1e-6)
    assert np.std(residual[valid]) > 0


@pytest.mark.slow
def test_invalid_pixels_are_filled_on_request(sky, tmp_path):
    raw = {**FIT, "output": {**FIT["output"], "invalid": "fill"}}
    restore(request(sky, tmp_path / "a.zarr", raw), InlinePool())
    assert np.isfinite(level0(tmp_path / "a.zarr")).all()


@pytest.mark.slow
def test_integers_are_rounded_and_the_step_is_reversible(tmp_path):
    page = np.random.default_rng(2).integers(0, 256, (40, 44), "u1")
    tifffile.imwrite(tmp_path / "a.tif", page)
    restore(request(tmp_path / "a.tif", tmp_path / "a.zarr", FIT), InlinePool())
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="r")
    assert group["0"].dtype == np.uint8
    assert np.any(group["residual"][...] != 0)
    np.testing.assert_array_equal(group["0"][...] + group["residual"][...], page)


@pytest.mark.slow
def test_a_masked_pixel_of_an_integer_image_keeps_its_value(tmp_path):
    page = np.random.default_rng(2).integers(0, 256, (40, 44), "u1")
    mask = np.zeros(page.shape, "u1")
    mask[10:20, 5:9] = 1
    tifffile.imwrite(tmp_path / "a.tif", page)
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    spec = SourceSpec(tmp_path / "a.tif", mask=tmp_path / "mask.tif")
    restore(request(spec, tmp_path / "a.zarr", FIT), InlinePool())
    restored = level0(tmp_path / "a.zarr")
    np.testing.assert_array_equal(restored[mask == 1], page[mask == 1])
    assert np.any(restored[mask == 0] != page[mask == 0])


@pytest.mark.slow
def test_a_mask_may_be_an_extension(sky, tmp_path):
    dq = np.zeros((50, 70), "i2")
    dq[30:34, 40:44] = 4
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.ones_like(dq)), fits.ImageHDU(dq, name="DQ")]
    fits.HDUList(hdus).writeto(tmp_path / "dq.fits")
    spec = SourceSpec(sky, mask=tmp_path / "dq.fits[DQ]")
    restore(request(spec, tmp_path / "a.zarr", COPY), InlinePool())
    np.testing.assert_array_equal(np.isnan(level0(tmp_path / "a.zarr"))[30:34, 40:44], True)
    assert all(check.ok for check in verify(tmp_path / "a.zarr"))
    other = SourceSpec(sky, mask=tmp_path / "dq.fits[1]")
    with pytest.raises(StoreError, match="made from another mask"):
        restore(request(other, tmp_path / "a.zarr", COPY), InlinePool())


@pytest.mark.slow
def test_any_order_and_any_repetition_gives_the_same_bytes(sky, tmp_path):
    digests = set()
    for seed in range(3):
        store = tmp_path / f"{seed}.zarr"
        restore(request(sky, store, FIT), InlinePool() if seed == 0 else UntidyPool(seed))
        digests.add(digest(store))
    assert len(digests) == 1


@pytest.mark.slow
@pytest.mark.parametrize("tiles", [{"stack": 3}, {"stack": 4, "batch": 5}, {"stack": 50}])
def test_a_stack_changes_nothing_but_rounding(sky, tmp_path, tiles):
    restore(request(sky, tmp_path / "alone.zarr", FIT), InlinePool())
    stacked = {**FIT, "tiles": {**FIT["tiles"], **tiles}}
    restore(request(sky, tmp_path / "stack.zarr", stacked), InlinePool())
    # the noise is 5; the last pixels of a window may round otherwise where others follow them
    np.testing.assert_allclose(
        level0(tmp_path / "stack.zarr"), level0(tmp_path / "alone.zarr"), rtol=0, atol=0.05
    )
    assert all(check.ok for check in verify(tmp_path / "stack.zarr"))


JOINT = {**FIT["tiles"], "stack": 2, "batch": 3, "together": "grouped"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "raw",
    [FIT, {**FIT, "task": "superres", "operator": {"scale": 2}}, {**FIT, "tiles": JOINT}],
    ids=["denoise", "superres", "stacked"],
)
def test_interrupted_anywhere_and_resumed_equals_undisturbed(sky, tmp_path, raw):
    whole, broken = tmp_path / "whole.zarr", tmp_path / "broken.zarr"
    restore(request(sky, whole, raw), InlinePool())
    started = []
    for after in (0, 1, 2, 4, 3, 1, 2, 5, 3, 2, 50):
        try:
            restore(
                request(sky, broken, raw), UntidyPool(after, interrupt_after=after), started.append
            )
            break
        except KeyboardInterrupt:
            assert inspect_result(broken)["status"] == "running"
    assert digest(broken) == digest(whole)
    assert all(check.ok for check in verify(broken))
    runs = [event for event in started if isinstance(event, RunStarted)]
    assert len(runs) > 3
    assert [run.done for run in runs] == sorted(run.done for run in runs)
    assert runs[-1].done == runs[-1].tiles


@pytest.mark.slow
def test_a_resumed_run_is_checked_and_run_with_the_stack_that_it_began_with(
    sky, tmp_path, monkeypatch
):
    def in_pairs(*args, **more):
        plan = plan_files(*args, **more)
        assert (plan.numerics.stack, plan.batch_size) == (1, 1)
        return replace(plan, numerics=replace(plan.numerics, stack=2), batch_size=4)

    class Seeing(InlinePool):
        def map(self, work, tasks, on_progress):
            run_with.extend(task.plan for task in tasks)
            return super().map(work, tasks, on_progress)

    checked, run_with = [], []
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(run, "plan_files", in_pairs)
        with pytest.raises(KeyboardInterrupt):
            restore(request(sky, tmp_path / "a.zarr", FIT), UntidyPool(interrupt_after=1))
    monkeypatch.setattr(run, "check_capacity", lambda plan, store, pool: checked.append(plan))
    restore(request(sky, tmp_path / "a.zarr", FIT), Seeing())
    assert [(plan.numerics.stack, plan.batch_size) for plan in checked] == [(2, 4)]
    assert {(plan.numerics.stack, plan.batch_size) for plan in run_with} == {(2, 4)}


@pytest.mark.slow
def test_a_pool_learns_the_size_of_the_longest_stage_before_the_donor(sky, tmp_path):
    heard = []

    class Hearing(UntidyPool):
        def expect(self, tasks):
            heard.append(("expect", tasks))

        def map(self, work, tasks, on_progress):
            heard.append((work.__name__, len(tasks)))
            return super().map(work, tasks, on_progress)

    with pytest.raises(KeyboardInterrupt):
        restore(request(sky, tmp_path / "a.zarr", FIT), Hearing(interrupt_after=4))
    first, heard[:] = list(heard), []
    restore(request(sky, tmp_path / "a.zarr", FIT), Hearing())
    assert first[:2] == [("expect", first[2][1]), ("make_donor", 1)]
    assert heard[:2] == [("expect", heard[1][1]), ("restore_batch", heard[1][1])]
    assert 1 < heard[1][1] < first[2][1]


@pytest.mark.slow
def test_a_second_run_does_nothing(sky, tmp_path):
    first = restore(request(sky, tmp_path / "a.zarr", FIT), InlinePool())
    before = digest(tmp_path / "a.zarr")

    class NoPool(InlinePool):
        def map(self, work, tasks, on_progress):
            raise AssertionError("nothing is left to do")

    second = restore(request(sky, tmp_path / "a.zarr", FIT), NoPool())
    assert not first.already_complete
    assert second.already_complete
    assert second.done == second.tiles == first.tiles
    assert second.summary.stop_reasons == first.summary.stop_reasons
    assert digest(tmp_path / "a.zarr") == before


@pytest.mark.slow
def test_a_tile_that_fails_once_is_tried_with_another_seed(sky, tmp_path):
    failed = set()

    def once(work, task):
        first = work is batch_module.restore_batch and task.tiles == (1,) and 1 not in failed
        failed.update(task.tiles if first else ())
        return first

    result = restore(request(sky, tmp_path / "a.zarr", FIT), UntidyPool(fail=once))
    assert failed == {1}
    assert result.status == "complete"
    assert all(check.ok for check in verify(tmp_path / "a.zarr"))


@pytest.mark.slow
def test_a_fit_that_diverges_costs_its_batch_no_other_tile(sky, tmp_path, monkeypatch):
    real, asked = batch_module.fit_each, []

    def diverging(windows, *args, **kwargs):
        windows = list(windows)
        asked.append(len(windows))
        for window, found in real(windows, *args, **kwargs):
            diverged = len(asked) == 1 and window.tile.index == 2
            yield window, FloatingPointError("fit: data term nan") if diverged else found

    monkeypatch.setattr(batch_module, "fit_each", diverging)
    whole = {**FIT, "tiles": {**FIT["tiles"], "batch": 100}}
    result = restore(request(sky, tmp_path / "a.zarr", whole), InlinePool())
    assert asked == [result.tiles, 1]
    assert result.status == "complete"
    journal = (tmp_path / "a.zarr" / "provenance" / "tiles.jsonl").read_text()
    [failed] = [line for line in journal.splitlines() if '"ok":false' in line]
    assert '"error":"FloatingPointError: fit: data term nan"' in failed
    assert all(check.ok for check in verify(tmp_path / "a.zarr"))


@pytest.mark.slow
def test_a_transient_failure_changes_no_byte(sky, tmp_path):
    class Flaky(InlinePool):
        failed = False

        def map(self, work, tasks, on_progress):
            for task in tasks:
                if work is batch_module.restore_batch and not self.failed:
                    self.failed = True
                    yield task, Failure.of(OSError("the network file system hiccuped"))
                else:
                    yield task, work(task, on_progress)

    restore(request(sky, tmp_path / "whole.zarr", FIT), InlinePool())
    restore(request(sky, tmp_path / "flaky.zarr", FIT), Flaky())
    assert digest(tmp_path / "flaky.zarr") == digest(tmp_path / "whole.zarr")


@pytest.mark.slow
def test_a_tile_that_cannot_be_done_is_quarantined_and_later_tried_again(sky, tmp_path):
    store, events = tmp_path / "a.zarr", []
    result = restore(request(sky, store, FIT), UntidyPool(fail=fails_at(0)), events.append)
    assert (result.status, result.quarantined) == ("partial", 1)
    assert result.summary.quarantined == {"0": "FloatingPointError: made to fail"}
    assert [e.message for e in events if isinstance(e, Warned)] == [
        "tile 0 is quarantined: FloatingPointError: made to fail"
    ]
    group = zarr.open_group(str(store), mode="r")
    assert np.isnan(group["0"][0, 0])
    assert group["footprint"][0, 0] == 0
    assert group["footprint"][-1, -1] == 1
    assert inspect_result(store)["tiles"]["quarantined"] == 1
    assert not all(check.ok for check in verify(store))
    again = restore(request(sky, store, FIT), InlinePool())
    assert (again.status, again.quarantined) == ("complete", 0)
    assert np.isfinite(level0(store)[0, 0])
    assert all(check.ok for check in verify(store))
    whole = tmp_path / "whole.zarr"
    restore(request(sky, whole, FIT), InlinePool())
    assert digest(store) == digest(whole)


def test_all_tiles_failing_is_a_failure(sky, tmp_path):
    with pytest.raises(GlassplateError, match=r"all 6 tiles failed: FloatingPointError"):
        restore(request(sky, tmp_path / "a.zarr", FIT), UntidyPool(fail=fails_at(*range(99))))


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["make_donor", "restore_batch", "stitch_shard"])
def test_damage_of_the_source_that_a_worker_finds_is_a_refusal(sky, tmp_path, stage):
    class Damaged(InlinePool):
        def map(self, work, tasks, on_progress):
            for task in tasks:
                # rows that no window of the plan shows; a fault of this program would end in exit code 1
                refusal = Failure.of(SourceError("a.fits: rows 7 to 9 cannot be decompressed"))
                yield task, refusal if work.__name__ == stage else work(task, on_progress)

    with pytest.raises(
        SourceError, match=r"^a.fits: rows 7 to 9 cannot be decompressed$"
    ) as caught:
        restore(request(sky, tmp_path / "a.zarr", FIT), Damaged())
    assert caught.value.exit_code == 2


@pytest.mark.slow
def test_a_full_disk_ends_the_run_and_the_same_command_resumes_it(sky, tmp_path):
    class FullDisk(InlinePool):
        def map(self, work, tasks, on_progress):
            for i, task in enumerate(tasks):
                yield (
                    task,
                    (
                        Failure.of(OSError(28, "No space left on device"))
                        if i > 1
                        else work(task, on_progress)
                    ),
                )

    with pytest.raises(
        GlassplateError, match=r"No space left.*same command again, 2 of 6 tiles are done"
    ):
        restore(request(sky, tmp_path / "a.zarr", FIT), FullDisk())
    assert restore(request(sky, tmp_path / "a.zarr", FIT), InlinePool()).status == "complete"


def test_what_cannot_fit_is_refused_before_anything_is_written(sky, tmp_path, monkeypatch):
    import shutil

    import psutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(CapacityError, match=r"projected .* GiB of disk exceed"):
        restore(request(sky, tmp_path / "a.zarr", FIT), InlinePool())
    monkeypatch.undo()
    memory = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(available=2**20))
    with pytest.raises(CapacityError, match=r"lower --workers, tiles.core from 30"):
        restore(request(sky, tmp_path / "a.zarr", FIT), InlinePool())
    assert [p.name for p in tmp_path.iterdir()] == ["sky.fits"]


class TestRunsDoNotMix:
    @pytest.fixture
    def store(self, sky, tmp_path):
        restore(request(sky, tmp_path / "a.zarr", COPY), InlinePool())
        return tmp_path / "a.zarr"

    def test_another_recipe(self, sky, store):
        raw = {**COPY, "tiles": {"core": 24, "halo": 6}}
        with pytest.raises(StoreError, match=r"tiles.core was 30, is now 24\); choose another -o"):
            restore(request(sky, store, raw), InlinePool())

    @pytest.mark.slow
    @pytest.mark.parametrize(("flips", "same"), [(False, True), (True, False)])
    def test_a_result_of_a_version_with_more_keys(self, sky, store, flips, same):
        # every result of an earlier version was refused: "fit.flips was False, is now None"
        path = store / "provenance" / "manifest.json"
        manifest = json.loads(path.read_text())
        manifest["recipe"]["fit"]["flips"] = flips
        manifest["identity"]["recipe_sha256"] = sha256_of_recipe(manifest["recipe"])
        path.write_text(json.dumps(manifest))
        if same:
            assert restore(request(sky, store, COPY), InlinePool()).already_complete
        else:
            with pytest.raises(StoreError, match=r"fit.flips was True, is now None"):
                restore(request(sky, store, COPY), InlinePool())

    @pytest.mark.slow
    def test_another_input(self, sky, store):
        fits.writeto(sky, np.ones((50, 70), "f4"), overwrite=True)
        with pytest.raises(StoreError, match=r"made from another source than .*sky.fits"):
            restore(request(sky, store, COPY), InlinePool())
        assert [c.name for c in verify(store) if not c.ok] == ["source"]

    @pytest.mark.slow
    def test_a_moved_input_is_the_same_input(self, sky, store):
        moved = sky.with_name("moved.fits")
        sky.rename(moved)
        assert restore(request(moved, store, COPY), InlinePool()).already_complete

    @pytest.mark.slow
    def test_another_version(self, sky, store, monkeypatch):
        real = identity.identify
        monkeypatch.setattr(
            "glassplate.pipeline.run.finished.identify",
            lambda *a: replace(real(*a), versions={**real(*a).versions, "torch": "9.9"}),
        )
        with pytest.raises(StoreError, match=r"made with torch .*, this is 9.9; choose another -o"):
            restore(request(sky, store, COPY), InlinePool())
        any_version = replace(request(sky, store, COPY), any_version=True)
        assert restore(any_version, InlinePool()).already_complete
        assert complete_result(any_version).already_complete
        assert complete_result(replace(any_version, store=store.with_name("none.zarr"))) is None

    @pytest.mark.slow
    def test_a_recipe_of_an_earlier_version_lacks_new_keys(self, sky, store):
        path = store / "provenance" / "manifest.json"
        manifest = json.loads(path.read_text())
        del manifest["recipe"]["output"]["clamp"]  # has its default
        manifest["identity"]["recipe_sha256"] = sha256_of_recipe(manifest["recipe"])
        path.write_text(json.dumps(manifest))
        with pytest.raises(ChangedError, match=r"made with another recipe"):
            restore(request(sky, store, COPY), InlinePool())
        any_version = replace(request(sky, store, COPY), any_version=True)
        assert complete_result(any_version).already_complete

    def test_another_program(self, sky, tmp_path):
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "thesis.txt").write_text("years")
        with pytest.raises(StoreError, match="will not be overwritten"):
            restore(request(sky, tmp_path / "b", COPY), InlinePool())
        assert (tmp_path / "b" / "thesis.txt").read_text() == "years"

    def test_two_runs_at_once(self, sky, tmp_path):
        class Meddling(InlinePool):
            def map(self, work, tasks, on_progress):
                with pytest.raises(UsageError, match="another run is writing it"):
                    restore(request(sky, tmp_path / "c.zarr", COPY), InlinePool())
                yield from super().map(work, tasks, on_progress)

        assert restore(request(sky, tmp_path / "c.zarr", COPY), Meddling()).status == "complete"


def test_all_invalid_is_refused(tmp_path):
    fits.writeto(tmp_path / "nan.fits", np.full((40, 40), np.nan, "f4"))
    with pytest.raises(SourceError, match="all 1600 pixels are invalid"):
        restore(request(tmp_path / "nan.fits", tmp_path / "a.zarr", FIT), InlinePool())
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (2, 5, 7)])
@pytest.mark.parametrize("level", [0.0, 1234.5])
def test_constant_and_tiny_images_work(tmp_path, shape, level):
    fits.writeto(tmp_path / "a.fits", np.full(shape, level, "f4"))
    result = restore(request(tmp_path / "a.fits", tmp_path / "a.zarr", FIT), InlinePool())
    assert result.status == "complete"
    np.testing.assert_allclose(level0(tmp_path / "a.zarr"), level, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
def test_a_cube_is_fitted_plane_by_plane(tmp_path):
    cube = np.random.default_rng(0).normal(100, 3, (6, 40, 26)).astype("f4")
    fits.writeto(tmp_path / "a.fits", cube)
    result = restore(request(tmp_path / "a.fits", tmp_path / "a.zarr", FIT), InlinePool())
    assert result.tiles == 6 * 2
    assert level0(tmp_path / "a.zarr").shape == cube.shape


@pytest.mark.slow
def test_events_come_in_the_order_of_the_stages(sky, tmp_path):
    events = []
    result = restore(request(sky, tmp_path / "a.zarr", FIT), InlinePool(), events.append)
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunEnded)
    stages = [e.stage for e in events if isinstance(e, StageStarted)]
    assert stages[:3] == ["donor", "restore", "stitch"]
    assert len([e for e in events if isinstance(e, TileDone)]) == result.tiles == 6


@pytest.mark.slow
def test_the_scratch_is_removed_unless_it_is_kept(sky, tmp_path):
    restore(request(sky, tmp_path / "a.zarr", COPY), InlinePool())
    assert not (tmp_path / "a.zarr" / ".scratch").exists()
    restore(request(sky, tmp_path / "b.zarr", COPY, keep_scratch=True), InlinePool())
    assert len(list((tmp_path / "b.zarr" / ".scratch").rglob("window-*.npy"))) == 6


@pytest.mark.slow
def test_sums_are_kept_if_the_unit_counts_per_pixel(tmp_path):
    image = np.random.default_rng(0).normal(100, 1, (40, 40)).astype("f4")
    raw = {**FIT, "task": "superres", "operator": {"scale": 2}}
    means = {}
    for unit in ("adu", "MJy/sr"):
        name = unit.replace("/", "")
        fits.writeto(tmp_path / f"{name}.fits", image, fits.Header([("BUNIT", unit)]))
        restore(request(tmp_path / f"{name}.fits", tmp_path / f"{name}.zarr", raw), InlinePool())
        means[unit] = level0(tmp_path / f"{name}.zarr").mean()
    assert means["MJy/sr"] == pytest.approx(100, rel=0.05)
    assert means["adu"] == pytest.approx(means["MJy/sr"] / 4, rel=1e-5)
