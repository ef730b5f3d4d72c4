"""A lock on an output: only one process at a time writes a result or an export.

The operating system locks a hidden file beside the output (flock), since the output may not exist yet. The
lock ends with the process, however it ends. A lock file that is left behind locks nothing.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from glassplate.pipeline.errors import BusyError, UsageError

# A process writes its name into the file microseconds after it locked the file. A reader that finds no name
# tries again.
_ATTEMPTS, _PAUSE_S = 5, 0.02
# Times that the folder of the lock may be gone before the file is made in it, because another run has removed
# it. Some file systems, such as /proc, say so of every folder that cannot be made.
_MOST_GONE = 1000

# On NFS, Linux treats a flock as a lock of the whole process: it does not exclude other threads of the
# process, and is lost when any of them closes the file. This table excludes them.
_held: dict[Path, str] = {}
_held_guard = threading.Lock()


@contextmanager
def locked(output: Path, doing: str, other: str = "-o") -> Iterator[None]:
    """Exclude every other run from an output while the body runs.

    Parameters
    ----------
    output
        The result or the export, which need not exist. Missing parent folders are made, and removed again
        if they stay empty.
    doing
        What is done to it. The message to other runs contains it, beside process, host and time.
    other
        What the message advises to choose another of.

    Raises
    ------
    BusyError
        If another run holds the lock.
    UsageError
        If the folder cannot be written, or its file system has no locks.
    """
    path = lock_path(output)
    since = datetime.now(UTC).isoformat(timespec="seconds")
    holder = f"process {os.getpid()} on {platform.node()} since {since}, {doing}"
    made = [folder for folder in path.parents if not folder.exists()]
    with _held_guard:
        if path in _held:
            raise _refusal(output, _held[path], other)
        _held[path] = holder
    try:
        handle = _acquired(path, output, other)
        try:
            _write_holder(handle, holder)
            yield
        finally:
            # still locked: a process that has opened the file finds that the name is gone, and opens it again
            with suppress(OSError):
                if _is_file_at(path, handle):
                    path.unlink()
            os.close(handle)
    finally:
        with suppress(OSError):
            for folder in made:
                folder.rmdir()
        with _held_guard:
            del _held[path]


def lock_path(output: Path) -> Path:
    """Return the file that is locked for an output. It is the same through every symbolic link."""
    real = Path(os.path.realpath(output))
    return real.parent / f".{real.name}.lock"


def _acquired(path: Path, output: Path, other: str) -> int:
    """Lock the file that the path names, and return its descriptor."""
    gone = 0
    while True:
        handle = _opened(path, output, other, again=gone < _MOST_GONE)
        if handle is None:
            gone += 1
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_file_at(path, handle):
                return handle
        except BlockingIOError as error:
            holder = _read_holder(handle)
            os.close(handle)
            raise _refusal(output, holder, other) from error
        except OSError as error:
            os.close(handle)
            raise UsageError(
                f"{output}: the file system of its folder knows no locks ({_reason(error)}), without which "
                f"two runs could mix; choose another {other}, on another disk"
            ) from error
        os.close(handle)  # the previous holder has removed it


def _opened(path: Path, output: Path, other: str, *, again: bool) -> int | None:
    """Open the lock file, and make it if it is missing.

    Return None if its folder has just been removed and the caller tries again.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if again and isinstance(error, FileNotFoundError):
            return None
        # the lock file that a killed run of another user left can still be locked
        if error.errno == errno.EACCES and path.is_file():
            with suppress(OSError):
                return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        raise UsageError(
            f"{output}: cannot be written, no file can be made in {path.parent} ({_reason(error)}); choose "
            f"another {other}"
        ) from error


def _is_file_at(path: Path, handle: int) -> bool:
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(handle))


def _write_holder(handle: int, holder: str) -> None:
    """Write the holder into the file for other processes. The lock holds even if this fails."""
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(holder).encode() + b"\n", 0)


def _read_holder(handle: int) -> str:
    for _ in range(_ATTEMPTS):
        with suppress(OSError, ValueError):
            return str(json.loads(os.pread(handle, 4096, 0)))
        time.sleep(_PAUSE_S)
    return "a process that does not say who it is"


def _refusal(output: Path, holder: str, other: str) -> BusyError:
    return BusyError(
        f"{output}: another run is writing it: {holder}; wait for it or choose another {other}"
    )


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
