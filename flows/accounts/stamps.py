"""The state of files by which a job knows, without reading them, that nothing has changed.

A stamp trusts the file system: whoever changes a file changes its size, its modification time or its change
time. The last one cannot be set by programs. A file that was changed in the last two seconds has no stamp,
because another change may leave the same times.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import NamedTuple

from glassplate.pipeline.provenance.input_watch import CLOCK_NS


class FileStamp(NamedTuple):
    """Size and times of a file."""

    size: int
    modified_ns: int
    changed_ns: int
    """Last change of content, name or permissions."""

    @classmethod
    def of(cls, status: os.stat_result) -> FileStamp:
        """Make the stamp of a file from its status."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def stamp_of(path: Path) -> FileStamp | None:
    """The stamp of an input; None if there is no such file, or it has just been changed."""
    stamp = own_stamp(path)
    if stamp is None or abs(time.time_ns() - max(stamp.modified_ns, stamp.changed_ns)) < CLOCK_NS:
        return None
    return stamp


def own_stamp(path: Path) -> FileStamp | None:
    """The stamp of a file that this program alone writes; None if there is no such file."""
    try:
        return FileStamp.of(os.stat(path))
    except OSError:
        return None


def tree_stamp(folder: Path) -> str:
    """One stamp for a folder and all files in it and below it, which this program alone writes.

    It is the SHA-256 of the names, sizes and times. Any file that is changed, lost or added changes it.
    """
    digest = hashlib.sha256()
    waiting = [str(folder)]
    start = len(waiting[0])
    try:
        while waiting:
            here = waiting.pop()
            with os.scandir(here) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                        continue
                    status = entry.stat(follow_symlinks=False)
                    state = (entry.path[start:], *FileStamp.of(status))
                    digest.update(repr(state).encode("utf-8", "surrogateescape"))
    except OSError:
        return ""
    return digest.hexdigest()
