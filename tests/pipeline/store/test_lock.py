"""Only one process at a time holds the lock of an output, however other processes end."""

import errno
import fcntl
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.store import lock
from glassplate.pipeline.store.lock import lock_path, locked

HOLD = """
import sys
from pathlib import Path
from glassplate.pipeline.store.lock import locked
with locked(Path(sys.argv[1]), "recipe draft"):
    print("held", flush=True)
    sys.stdin.read()
"""

COUNT = """
import sys
from pathlib import Path
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.store.lock import locked
output, counter, done = Path(sys.argv[1]), Path(sys.argv[2]), 0
while done < 150:
    try:
        with locked(output, "counting"):
            counter.write_text(str(int(counter.read_text()) + 1))
            done += 1
    except UsageError:
        pass
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of a.zarr."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "a.zarr")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    with process:
        yield process
        process.kill()


def free(output):
    with locked(output, "a test"):
        return True


def test_the_lock_file_exists_only_while_the_lock_is_held(tmp_path):
    with locked(tmp_path / "a.zarr", "a test"):
        assert [p.name for p in tmp_path.iterdir()] == [".a.zarr.lock"]
    assert list(tmp_path.iterdir()) == []


def test_the_refusal_names_the_holder(tmp_path, holder):
    who = rf"process {holder.pid} on {platform.node()} since \S+, recipe draft; wait for it"
    with (
        pytest.raises(UsageError, match=rf"a.zarr: another run is writing it: {who}"),
        locked(tmp_path / "a.zarr", "a test"),
    ):
        pass
    assert lock_path(tmp_path / "a.zarr").exists(), "it is the holder's to remove"
    assert free(tmp_path / "b.zarr")


def test_a_killed_process_releases_the_lock(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert lock_path(tmp_path / "a.zarr").exists()
    assert free(tmp_path / "a.zarr")
    assert list(tmp_path.iterdir()) == []


def test_threads_of_one_process_exclude_each_other(tmp_path):
    with (
        locked(tmp_path / "a.zarr", "the first"),
        pytest.raises(UsageError, match=rf"process {os.getpid()} .* the first; .* another name"),
        locked(tmp_path / "a.zarr", "the second", other="name"),
    ):
        pass
    assert free(tmp_path / "a.zarr")


def test_a_link_to_an_output_has_the_same_lock(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "a.zarr").symlink_to("real/a.zarr")
    names = {lock_path(tmp_path / p) for p in ("real/a.zarr", "folder/a.zarr", "a.zarr")}
    assert names == {tmp_path / "real" / ".a.zarr.lock"}


def test_folders_made_for_the_lock_stay_only_if_they_are_not_empty(tmp_path):
    with locked(tmp_path / "a" / "b" / "c.zarr", "a test"):
        assert (tmp_path / "a" / "b").is_dir()
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "a" / "b" / "c.zarr", "a test"):
        (tmp_path / "a" / "b" / "c.zarr").mkdir()
    assert (tmp_path / "a" / "b" / "c.zarr").is_dir()


def test_a_lock_file_that_is_removed_meanwhile_is_opened_again(tmp_path, monkeypatch):
    # the holder removes its file between another's opening and locking it: that lock would keep out nobody
    path, real, seen = lock_path(tmp_path / "a.zarr"), fcntl.flock, []

    def removed_first(handle, how):
        if not seen:
            path.unlink()
        seen.append(handle)
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", removed_first)
    with locked(tmp_path / "a.zarr", "a test"):
        assert len(seen) == 2
        with path.open("r") as other, pytest.raises(BlockingIOError):
            real(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_lock_file_of_another_process_is_not_removed(tmp_path):
    path = lock_path(tmp_path / "a.zarr")
    with locked(tmp_path / "a.zarr", "a test"):
        path.unlink()
        path.write_text("of another")
    assert path.read_text() == "of another"


def test_an_output_in_a_read_only_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"a.zarr: cannot be written, .*choose another -o"):
        free(tmp_path / "file" / "a.zarr")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="Linux has this file system")
def test_an_output_whose_folder_can_never_be_made_is_refused():
    """The run tried for ever: there it is said of each folder that it does not exist."""
    with (
        pytest.raises(
            UsageError, match="cannot be written, no file can be made in /proc/no/folder"
        ),
        locked(Path("/proc/no/folder/out.zarr"), "a test"),
    ):
        pass


def test_an_output_on_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    def no_locks(handle, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(UsageError, match=r"knows no locks \(no locks available\)"):
        free(tmp_path / "a.zarr")


def test_a_holder_without_a_name_still_holds_the_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_PAUSE_S", 0)
    with lock_path(tmp_path / "a.zarr").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="a process that does not say who it is"):
            free(tmp_path / "a.zarr")


@pytest.mark.slow
def test_processes_never_hold_the_lock_together(tmp_path):
    (tmp_path / "count").write_text("0")
    command = [sys.executable, "-c", COUNT, str(tmp_path / "a.zarr"), str(tmp_path / "count")]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "450"
    assert [p.name for p in tmp_path.iterdir()] == ["count"]
