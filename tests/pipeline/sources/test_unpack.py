"""Packed files are unpacked once, shared, and removed at the end."""

import bz2
import gzip
import shutil
import sys

import numpy as np
import pytest
from astropy.io import fits

from glassplate.pipeline.errors import CapacityError, SourceError
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.sources import unpack
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.file_format import sniff_format
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.sources.unpack import forget_unpacked, scratch_folder, unpacked
from glassplate.pipeline.tile_grid import Box


def compress(data):
    """As Unix's compress with codes of 9 bits writes bytes whose strings do not repeat: one code for each."""
    codes = np.frombuffer(data, "u1").astype("u2")
    bits = (codes[:, None] >> np.arange(9)) & 1
    return b"\x1f\x9d\x89" + np.packbits(bits.astype("u1").ravel(), bitorder="little").tobytes()


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "Z": compress}


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("GLASSPLATE_SCRATCH", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


def files(folder):
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


@pytest.fixture(params=PACKERS)
def packed(request, tmp_path):
    data = np.random.default_rng(0).integers(0, 1000, (60, 70), dtype="i2")
    fits.writeto(tmp_path / "a.fits", data)
    path = tmp_path / f"a.fits.{request.param}"
    path.write_bytes(PACKERS[request.param]((tmp_path / "a.fits").read_bytes()))
    return path, data


def test_reads_as_the_plain_file(packed, scratch):
    path, data = packed
    assert sniff_format(path) == "fits"
    assert files(scratch) == []
    source = open_source(SourceSpec(path))
    np.testing.assert_array_equal(source.read(Box(5, 50, 6, 60)).values[0], data[5:50, 6:60])
    source.close()
    assert len(files(scratch)) == 1
    forget_unpacked(SourceSpec(path))
    assert files(scratch) == []
    forget_unpacked(SourceSpec(path))


def test_unpacked_once_until_the_file_changes(packed, scratch):
    path, _ = packed
    first = unpacked(path)
    before = first.stat()
    assert unpacked(path) == first
    assert first.stat().st_mtime_ns == before.st_mtime_ns
    path.write_bytes(path.read_bytes() + b"")
    assert unpacked(path) != first


def test_unpacked_masks_are_removed_too(packed, scratch, tmp_path):
    path, data = packed
    mask = tmp_path / "mask.fits.gz"
    fits.writeto(tmp_path / "mask.fits", (data > 500).astype("u1"))
    mask.write_bytes(gzip.compress((tmp_path / "mask.fits").read_bytes()))
    spec = SourceSpec(path, mask=mask)
    open_source(spec).close()
    assert len(files(scratch)) == 2
    forget_unpacked(spec)
    assert files(scratch) == []


def test_describe_leaves_scratch_as_it_was(packed, scratch):
    path, _ = packed
    found = describe(path)
    assert found["path"] == str(path)
    assert found["images"][0]["restorable"]
    assert files(scratch) == []


def test_plain_files_are_not_copied(tmp_path):
    (tmp_path / "a.fits").write_bytes(b"SIMPLE")
    assert unpacked(tmp_path / "a.fits") == tmp_path / "a.fits"


@pytest.mark.parametrize("keep", [0.5, 0.95])
def test_truncated_stream(packed, scratch, keep):
    path, _ = packed
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(
        SourceError, match=rf"{path}: truncated or damaged (gzip|bzip2) stream|truncated: "
    ):
        open_source(SourceSpec(path))
    forget_unpacked(SourceSpec(path))
    assert files(scratch) == []


def test_damaged_stream(packed, scratch):
    path, _ = packed
    if path.suffix == ".Z":
        pytest.skip("the format has no checksum")
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 40] = bytes(40)
    path.write_bytes(raw)
    with pytest.raises(SourceError, match="truncated or damaged"):
        open_source(SourceSpec(path))
    assert files(scratch) == []


def test_a_code_that_is_not_there_yet_is_damage(tmp_path, scratch):
    path = tmp_path / "a.fits.Z"
    path.write_bytes(compress(b"SIMPLE") + b"\xff" * 40)
    with pytest.raises(SourceError, match="truncated or damaged compress stream"):
        open_source(SourceSpec(path))
    assert files(scratch) == []


def test_a_reader_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "uncompresspy", None)
    path = tmp_path / "a.fits.Z"
    path.write_bytes(compress(b"SIMPLE"))
    with pytest.raises(SourceError, match=r"needs the package uncompresspy; install glassplate"):
        open_source(SourceSpec(path))


def test_the_strings_of_compress_take_no_more_memory_than_is_bearable(
    tmp_path, scratch, monkeypatch
):
    monkeypatch.setattr(unpack, "_MOST_OF_COMPRESS", 2**10)
    fits.writeto(tmp_path / "a.fits", np.zeros((9, 9), "u1"))
    path = tmp_path / "a.fits.Z"
    path.write_bytes(compress((tmp_path / "a.fits").read_bytes()))
    monkeypatch.setattr(unpack, "_MOST_SHRINKAGE_OF_COMPRESS", 0)
    with pytest.raises(SourceError, match="to less than 1/0 of its size"):
        open_source(SourceSpec(path))
    assert files(scratch) == []


class TestABomb:
    """A small file that unpacks to far more than its size is refused, by a limit that can be raised."""

    @pytest.fixture
    def bomb(self, tmp_path, monkeypatch):
        monkeypatch.setattr(unpack, "_MOST_UNPACKED", 2**20)
        fits.writeto(tmp_path / "a.fits", np.zeros((4000, 4000), "u1"))
        path = tmp_path / "a.fits.gz"
        path.write_bytes(gzip.compress((tmp_path / "a.fits").read_bytes()))
        return path

    def test_is_refused(self, bomb, scratch):
        with pytest.raises(
            CapacityError, match=r"to more than 0\.0 GB, over 200 times its size; set GLASSPLATE_"
        ):
            open_source(SourceSpec(bomb))
        assert files(scratch) == []

    def test_the_limit_can_be_raised(self, bomb, monkeypatch):
        monkeypatch.setenv("GLASSPLATE_MOST_UNPACKED_GB", "0.1")
        assert open_source(SourceSpec(bomb)).shape[-2:] == (4000, 4000)

    def test_a_limit_that_is_no_number_is_named(self, bomb, monkeypatch):
        monkeypatch.setenv("GLASSPLATE_MOST_UNPACKED_GB", "much")
        with pytest.raises(CapacityError, match="GLASSPLATE_MOST_UNPACKED_GB is 'much'"):
            open_source(SourceSpec(bomb))


def test_errors_name_the_packed_file(tmp_path):
    fits.HDUList([fits.PrimaryHDU()]).writeto(tmp_path / "a.fits")
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress((tmp_path / "a.fits").read_bytes()))
    with pytest.raises(SourceError, match=rf"^{tmp_path}/a.fits.gz: no image"):
        open_source(SourceSpec(tmp_path / "a.fits.gz"))


def test_no_room_is_refused(packed, scratch, monkeypatch):
    path, _ = packed
    usage = shutil.disk_usage(scratch)
    monkeypatch.setattr(unpack.shutil, "disk_usage", lambda _: usage._replace(free=100))
    with pytest.raises(CapacityError, match=rf"{path}: unpacking needs .* set GLASSPLATE_SCRATCH"):
        unpacked(path)
    assert files(scratch) == []


def test_room_is_watched_while_unpacking(packed, scratch, monkeypatch):
    path, _ = packed
    usage = shutil.disk_usage(scratch)
    left = iter([usage.free, 0, 0, 0])
    monkeypatch.setattr(unpack.shutil, "disk_usage", lambda _: usage._replace(free=next(left)))
    monkeypatch.setattr(unpack, "_CHECK_BYTES", 1000)
    with pytest.raises(CapacityError, match="more in"):
        unpacked(path)
    assert files(scratch) == []


def test_scratch_is_private(packed):
    unpacked(packed[0])
    assert scratch_folder().stat().st_mode & 0o077 == 0
