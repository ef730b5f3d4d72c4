"""A lock on an output: one process at a time makes a result or an export.

The lock is a hidden file beside the output, since the output itself may not exist yet. What counts is the
operating system's lock on that file (flock), which ends with the process, however the process ends; a
lock file that is left behind locks nothing.
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

from glassplate.pipeline.errors import UsageError

# A process writes its name into the file microseconds after it has locked it; who finds no name looks again.
_LOOKS, _PAUSE_S = 5, 0.02

# On NFS, Linux makes a flock a lock of the whole process, which does not keep out its other threads, and
# which is lost when any of them closes the file. So those are kept out here.
_held: dict[Path, str] = {}
_held_guard = threading.Lock()


@contextmanager
def locked(output: Path, doing: str, other: str = "-o") -> Iterator[None]:
    """Keep every other run off an output while the body runs.

    Parameters
    ----------
    output
        The result or the export, which need not exist. Missing parents are made, and removed again
        if nothing was put into them.
    doing
        What is done to it: told to whoever finds it locked, beside process, host and time.
    other
        What the message advises to choose anew.

    Raises
    ------
    UsageError
        If another run holds the lock, or there can be no lock: the folder cannot be written, or its
        file system knows no locks.
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
            # while it is locked: who has opened this file meanwhile finds its name gone, and opens anew
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
    """The file that is locked for an output; one and the same through whichever symbolic link."""
    real = Path(os.path.realpath(output))
    return real.parent / f".{real.name}.lock"


def _acquired(path: Path, output: Path, other: str) -> int:
    """Descriptor of the locked file, which is the one that the path names."""
    while True:
        handle = _opened(path, output, other)
        if handle is None:
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
                f"{output}: the file system of its folder knows no locks ({_said(error)}), without which two "
                f"runs could mix; choose another {other}, on another disk"
            ) from error
        os.close(handle)  # the one who held it has removed it


def _opened(path: Path, output: Path, other: str) -> int | None:
    """Descriptor of the lock file, made where it is missing; None where its folder has just gone."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except FileNotFoundError:
        return None
    except OSError as error:
        # a file that another user's killed run has left can still be locked
        if error.errno == errno.EACCES and path.is_file():
            with suppress(OSError):
                return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        raise UsageError(
            f"{output}: cannot be written, no file can be made in {path.parent} ({_said(error)}); choose "
            f"another {other}"
        ) from error


def _is_file_at(path: Path, handle: int) -> bool:
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(handle))


def _write_holder(handle: int, holder: str) -> None:
    """For whoever finds it locked; a file of another user, or a full disk, still is a lock."""
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(holder).encode() + b"\n", 0)


def _read_holder(handle: int) -> str:
    for _ in range(_LOOKS):
        with suppress(OSError, ValueError):
            return str(json.loads(os.pread(handle, 4096, 0)))
        time.sleep(_PAUSE_S)
    return "a process that does not say who it is"


def _refusal(output: Path, holder: str, other: str) -> UsageError:
    return UsageError(
        f"{output}: another run is writing it: {holder}; wait for it or choose another {other}"
    )


def _said(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
