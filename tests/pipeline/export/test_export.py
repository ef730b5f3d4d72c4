"""Exports are refused where they must be, leave nothing behind, and need little memory."""

import os

import numpy as np
import pytest
import tifffile
import zarr
from astropy.io import fits
from exported import RUN, ended, make_store

from glassplate.pipeline.errors import StoreError, UsageError
from glassplate.pipeline.export import export as export_module
from glassplate.pipeline.export.export import export
from glassplate.pipeline.export.own_files import is_export


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("out.fits.gz", "pack it afterwards"),
            ("out.png", "choose one of"),
            ("out", "choose one of"),
            ("no/out.fits", "no folder"),
        ],
    )
    def test_unsuitable_names_are_refused(self, tmp_path, name, why):
        with pytest.raises(UsageError, match=why):
            export(make_store(tmp_path, np.zeros((4, 4), "f4"), {}), tmp_path / name)

    def test_an_unknown_level_is_refused(self, tmp_path):
        with pytest.raises(UsageError, match=r"--level 2: .* has levels 0 to 1"):
            export(
                make_store(tmp_path, np.zeros((8, 8), "f4"), {}, levels=2), tmp_path / "a.fits", 2
            )

    def test_a_path_without_a_result_is_refused(self, tmp_path):
        with pytest.raises(StoreError, match="not a glassplate result"):
            export(tmp_path / "none.zarr", tmp_path / "a.fits")

    @pytest.mark.parametrize("name", ["a.fits", "a.tif"])
    def test_only_exports_are_replaced(self, tmp_path, name):
        store = make_store(tmp_path, np.ones((8, 8), "f4"), {})
        target = tmp_path / name
        foreign = tmp_path / f"foreign{target.suffix}"
        if target.suffix == ".fits":
            fits.writeto(foreign, np.zeros((3, 3)))
        else:
            tifffile.imwrite(foreign, np.zeros((3, 3), "u1"))
        before = foreign.read_bytes()
        with pytest.raises(
            UsageError, match="exists and was not made by glassplate; choose another name"
        ):
            export(store, foreign)
        assert foreign.read_bytes() == before
        assert export(store, target) == export(store, target) == target
        assert is_export(target)
        assert not is_export(foreign)

    def test_a_named_pipe_is_not_opened(self, tmp_path):
        os.mkfifo(tmp_path / "a.fits")
        with pytest.raises(UsageError, match="exists and was not made by glassplate"):
            export(make_store(tmp_path, np.ones((8, 8), "f4"), {}), tmp_path / "a.fits")

    def test_a_header_without_end_is_read_only_to_a_limit(self, tmp_path):
        with (tmp_path / "a.fits").open("wb") as file:
            file.write(b"SIMPLE  =")
            file.truncate(1 << 40)  # sparse: read whole it would take an hour
        assert not is_export(tmp_path / "a.fits")

    @pytest.mark.parametrize("suffix", [".fits", ".tif"])
    def test_a_header_that_cannot_be_kept_is_reported_in_one_line(
        self, tmp_path, monkeypatch, suffix
    ):
        def fails(*_):
            raise KeyError("CTYPE1")

        writer = "write_fits" if suffix == ".fits" else "write_tiff"
        monkeypatch.setattr(export_module, writer, fails)
        with pytest.raises(StoreError, match=r"cannot be carried over: KeyError: 'CTYPE1'; the"):
            export(make_store(tmp_path, np.ones((8, 8), "f4"), {}), tmp_path / f"a{suffix}")
        assert not list(tmp_path.glob("*a.*"))

    def test_a_failed_export_leaves_no_file(self, tmp_path, monkeypatch):
        store = make_store(tmp_path, np.ones((8, 8), "f4"), {})

        def fail(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("glassplate.pipeline.export.fits.write.write_hdu", fail)
        with pytest.raises(Exception, match="the disk is full"):
            export(store, tmp_path / "a.fits")
        assert sorted(p.name for p in tmp_path.iterdir()) == ["out.zarr"]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["fits", "tif"])
def test_memory_does_not_grow_with_the_image(forks, tmp_path, suffix):
    """8000 x 8000 float32 are 244 MiB; exporting them takes a few blocks more than 500 x 500."""
    group = zarr.create_group(tmp_path / "big.zarr", attributes={"glassplate": RUN})
    group.create_array(
        "0", shape=(8000, 8000), dtype="f4", chunks=(256, 256), shards=(2048, 2048), fill_value=1.5
    )
    group = zarr.create_group(tmp_path / "small.zarr", attributes={"glassplate": RUN})
    group.create_array(
        "0", shape=(500, 500), dtype="f4", chunks=(256, 256), shards=(512, 512), fill_value=1.5
    )
    ended(tmp_path / "big.zarr")
    ended(tmp_path / "small.zarr")
    small, big = (str(tmp_path / f"{name}.zarr") for name in ("small", "big"))
    assert forks.call("export_growth", small, big, f".{suffix}") < 100 << 20
