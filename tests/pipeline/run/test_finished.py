"""A result that is complete and requested again: it is left as it is, or refused if it is damaged."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from runs import COPY, UntidyPool, digest, fails_at, level0, request

from glassplate.pipeline.errors import StoreError, UsageError
from glassplate.pipeline.export.export import export
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.provenance.manifest import read_manifest, write_manifest
from glassplate.pipeline.provenance.verify import verify
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.store.lock import locked


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A FITS of 50 x 70 pixels whose first shard is NaN, its result and its export."""
    folder = tmp_path_factory.mktemp("made")
    image = np.random.default_rng(0).normal(100, 5, (50, 70)).astype("f4")
    image[:32, :32] = np.nan
    fits.writeto(folder / "sky.fits", image)
    restore(wish(folder), InlinePool())
    assert not (folder / "a.zarr" / "0" / "c" / "0" / "0").exists(), "nothing but the fill value"
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy of it, with the times of the original."""
    return Path(shutil.copytree(made, tmp_path / "night"))


def wish(folder, name="sky-restored.fits"):
    target = None if name is None else folder / name
    return request(folder / "sky.fits", folder / "a.zarr", COPY, export=target)


def state(folder):
    """Everything in a folder, and when it was last written."""
    paths = [folder, *sorted(folder.rglob("*"))]
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino) for path in paths}


def again(folder, name="sky-restored.fits"):
    return restore(wish(folder, name), InlinePool())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sky-restored.fits", None])
def test_nothing_is_written(folder, name):
    before = state(folder)
    assert again(folder, name).already_complete
    assert state(folder) == before


def test_no_write_permission_is_needed(folder):
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        if os.access(folder, os.W_OK):
            pytest.skip("this user may write anywhere")
        assert again(folder).already_complete
        with pytest.raises(UsageError, match="cannot be written"):
            again(folder, "another.fits")
    finally:
        for path in (folder, *folder.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)


def changed_header(path):
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["OBJECT"] = "edited"


@pytest.mark.parametrize("spoil", [Path.unlink, changed_header])
def test_a_missing_or_changed_export_is_written_again(folder, spoil):
    target = folder / "sky-restored.fits"
    before = target.read_bytes()
    spoil(target)
    assert again(folder).export == target
    assert target.read_bytes() == before
    after = state(folder)
    again(folder)
    assert state(folder) == after
    assert all(check.ok for check in verify(folder / "a.zarr"))


def test_verify_reports_a_changed_export(folder):
    again(folder, "second.fits")
    changed_header(folder / "second.fits")
    assert [c.name for c in verify(folder / "a.zarr") if not c.ok] == ["export"]
    (folder / "second.fits").unlink()
    assert all(check.ok for check in verify(folder / "a.zarr"))


def test_a_moved_folder_is_left_as_it_is(folder):
    moved = folder.rename(folder.with_name("moved"))
    before = state(moved)
    again(moved)
    assert state(moved) == before


def test_a_second_export_is_recorded_beside_the_first(folder):
    again(folder, "second.fits")
    records = read_manifest(folder / "a.zarr").exports
    assert [Path(record.path).name for record in records] == ["sky-restored.fits", "second.fits"]
    assert all(check.ok for check in verify(folder / "a.zarr"))


def altered(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def altered_with_its_time_put_back(path):
    status = path.stat()
    altered(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def filled_in(path):
    shutil.copy2(path.parents[1] / "1" / "2", path)


DAMAGE = [
    ("0/c/1/2", Path.unlink, r"1 file\(s\) missing, first 0/c/1/2"),
    ("0/c", shutil.rmtree, r"5 file\(s\) missing, first 0/c/0/1"),
    ("0/c/1/2", altered, r"1 file\(s\) damaged, first 0/c/1/2"),
    ("0/c/1/2", altered_with_its_time_put_back, r"1 file\(s\) damaged, first 0/c/1/2"),
    ("0/zarr.json", altered, r"1 file\(s\) damaged, first 0/zarr.json"),
    ("residual/c/1/2", altered, r"1 file\(s\) damaged, first residual/c/1/2"),
    # of nothing but NaN, so that its run left no file
    ("0/c/0/0", filled_in, r"1 file\(s\) that its run did not write, first 0/c/0/0"),
    ("provenance/checksums.sha256", Path.unlink, r"checksums.sha256 is missing"),
]


@pytest.mark.parametrize(("name", "spoil", "said"), DAMAGE)
class TestDamage:
    # a rerun once exported a store whose chunks were gone over a good export, all NaN, exit code 0
    def test_is_named_and_the_export_is_not_touched(self, folder, name, spoil, said):
        before = state(folder / "sky-restored.fits")
        spoil(folder / "a.zarr" / name)
        with pytest.raises(StoreError, match=rf"a.zarr: is damaged, {said}; .*remove"):
            again(folder)
        assert state(folder / "sky-restored.fits") == before
        assert any(not check.ok for check in verify(folder / "a.zarr"))

    def test_is_never_exported(self, folder, name, spoil, said):
        (folder / "sky-restored.fits").unlink()
        spoil(folder / "a.zarr" / name)
        with pytest.raises(StoreError, match="is damaged"):
            again(folder)
        if not name.startswith("residual"):
            with pytest.raises(StoreError, match="is damaged"):
                export(folder / "a.zarr", folder / "out.fits")
        assert {p.name for p in folder.iterdir()} == {"sky.fits", "a.zarr"}


def test_damage_without_a_new_time_stamp_is_found_before_an_export(folder, monkeypatch):
    # a failing disk: the file's stamps are older than the checksums
    altered(folder / "a.zarr" / "0" / "c" / "1" / "2")
    monkeypatch.setattr("glassplate.pipeline.provenance.checksums._latest", lambda path: 0)
    assert again(folder).already_complete
    with pytest.raises(StoreError, match="damaged, first 0/c/1/2"):
        again(folder, "another.fits")
    assert not (folder / "another.fits").exists()


@pytest.mark.slow
def test_a_lost_shard_of_an_unfinished_result_is_written_again(folder):
    image = np.nan_to_num(fits.getdata(folder / "sky.fits"), nan=7.0)
    fits.writeto(folder / "whole.fits", image)
    store = folder / "partial.zarr"
    wished = request(folder / "whole.fits", store, COPY)
    assert restore(wished, UntidyPool(fail=fails_at(5))).status == "partial"
    (store / "0" / "c" / "0" / "0").unlink()
    assert restore(wished, UntidyPool(fail=fails_at(5))).status == "partial"
    np.testing.assert_array_equal(level0(store)[:24, :24], image[:24, :24])
    assert restore(wished, InlinePool()).status == "complete"
    np.testing.assert_array_equal(level0(store), image)
    assert all(check.ok for check in verify(store))


class TestExport:
    def test_of_a_run_under_way_is_refused(self, folder):
        manifest = read_manifest(folder / "a.zarr")
        write_manifest(folder / "a.zarr", replace(manifest, status="running"))
        with pytest.raises(StoreError, match=r"its run has not ended \(status running\)"):
            export(folder / "a.zarr", folder / "out.fits")

    def test_of_a_result_that_is_resumed_meanwhile_leaves_no_file(self, folder, monkeypatch):
        from glassplate.pipeline.export import export as module

        def while_another_run_begins(images, path, planes):
            path.write_text("half of this, half of that")
            manifest = read_manifest(folder / "a.zarr")
            write_manifest(folder / "a.zarr", replace(manifest, sessions=()))
            return ()

        monkeypatch.setattr(module, "write_fits", while_another_run_begins)
        with pytest.raises(StoreError, match="was changed while it was exported"):
            export(folder / "a.zarr", folder / "out.fits")
        assert not (folder / "out.fits").exists()

    def test_to_a_file_that_another_run_writes_is_refused_before_any_work(self, folder):
        with locked(folder / "out.fits", "export of b.zarr"):
            with pytest.raises(UsageError, match=r"export of b.zarr; .* another file name"):
                export(folder / "a.zarr", folder / "out.fits")
            with pytest.raises(
                UsageError, match=r"export of b.zarr; .* another name for the export"
            ):
                restore(
                    request(
                        folder / "sky.fits", folder / "c.zarr", COPY, export=folder / "out.fits"
                    ),
                    InlinePool(),
                )
        assert not (folder / "c.zarr").exists()

    def test_replaces_the_leftovers_of_a_killed_export(self, folder):
        (folder / ".out.fits.partial").write_text("half")
        (folder / ".out.fits.lock").write_text("stale")
        export(folder / "a.zarr", folder / "out.fits")
        assert not list(folder.glob(".*"))

    def test_writes_nothing_into_the_result(self, folder):
        before = state(folder / "a.zarr")
        export(folder / "a.zarr", folder / "out.fits")
        assert state(folder / "a.zarr") == before


@pytest.mark.slow
def test_the_next_run_removes_the_leftovers_of_killed_ones(folder):
    store = folder / "b.zarr"
    wished = request(folder / "sky.fits", store, COPY)
    (folder / ".b.zarr.creating" / "0").mkdir(parents=True)
    (folder / ".b.zarr.lock").write_text('"process 1 on nowhere"')
    restore(wished, UntidyPool(fail=fails_at(5)))
    (store / "0" / "c" / "9.partial").write_text("half a shard")
    (store / "provenance" / "donor.npz.1.partial").write_text("half a donor")
    restore(wished, InlinePool())
    assert not list(folder.glob(".*"))
    assert not list(store.rglob("*.partial"))
    assert digest(store) == digest(folder / "a.zarr")


class TestMixed:
    """A part of another run, even of the same recipe on the same image, is found by verify."""

    PARTS = [
        "provenance/manifest.json",
        "zarr.json",
        "provenance/tiles.jsonl",
        "provenance/shards.jsonl",
        "provenance/prov.json",
        "provenance/ro-crate-metadata.json",
        "quality/seconds",
    ]

    @pytest.fixture
    def other(self, folder):
        """The same image, the same recipe, another run."""
        restore(request(folder / "sky.fits", folder / "b.zarr", COPY), InlinePool())
        return folder / "b.zarr"

    @pytest.mark.slow
    @pytest.mark.parametrize("part", PARTS)
    def test_a_part_of_another_run(self, folder, other, part):
        mine = folder / "a.zarr" / part
        if mine.is_dir():
            shutil.rmtree(mine)
            shutil.copytree(other / part, mine)
        else:
            shutil.copy(other / part, mine)
        bad = {check.name: check.detail for check in verify(folder / "a.zarr") if not check.ok}
        assert bad.keys() & {"one run", "checksums"}, bad

    def test_lines_of_another_run_do_not_count_as_done(self, folder, other):
        # and no part tells of it but the lines themselves: the run has not ended
        manifest = read_manifest(folder / "a.zarr")
        shutil.copy(other / "provenance/tiles.jsonl", folder / "a.zarr/provenance/tiles.jsonl")
        write_manifest(folder / "a.zarr", replace(manifest, status="running"))
        bad = {check.name: check.detail for check in verify(folder / "a.zarr") if not check.ok}
        assert "tiles.jsonl has lines of run" in bad["one run"]
        assert bad["tiles"].startswith("0 of 6 tiles done")

    @pytest.mark.parametrize("name", ["tiles.jsonl", "prov.json", "recipe.yaml", "manifest.json"])
    def test_damage_of_the_provenance_is_a_failed_check(self, folder, name):
        (folder / "a.zarr" / "provenance" / name).write_text("{nonsense\n")
        assert not all(check.ok for check in verify(folder / "a.zarr"))
