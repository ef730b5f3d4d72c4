"""Checks that the input files of a run do not change while it lasts.

If a file changed during a restoration, the result would mix both contents. Therefore each input is checked
before any work that was made from it counts as done, and again before the result is recorded.

Reading a file of 100 GB again for each tile is too slow. During the run, time stamps, size and inode are
compared, and the content only if one of these has changed: a file that was touched, copied back or given
other permissions is the same file. At the end, the content is compared again if the stamps may be wrong:
if they were so recent that a second change may have left them as they were, and in every file of moderate
size, since that costs nothing.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from glassplate.pipeline.errors import SourceChangedError, SourceError
from glassplate.pipeline.provenance.identity import RunIdentity, file_identity
from glassplate.pipeline.sources.guarded_reading import FIRST_BYTES_S, answered_within

# FAT has the coarsest clock of the file systems in use: two seconds. Two changes within one tick
# leave the same stamp.
CLOCK_NS = 2_000_000_000

# Files up to this size are always read again at the end. It takes less than a second: SHA-256 runs at
# 0.4 GB/s, and at 1 to 2 GB/s on processors with instructions for it.
SMALL_BYTES = 256 << 20


@dataclass(frozen=True)
class Stamp:
    """State of a file that the file system knows without reading it."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int
    """Last change of content, name or permissions. Unlike `modified_ns`, no program can set it."""
    is_fresh: bool
    """Whether the last change is so recent that another change may leave the same stamp."""

    def is_same(self, other: Stamp) -> bool:
        """Whether two stamps show the same state of a file, whatever their `is_fresh`."""
        return _state(self) == _state(other)


def _state(stamp: Stamp) -> tuple[int, ...]:
    return (stamp.device, stamp.inode, stamp.size, stamp.modified_ns, stamp.changed_ns)


class InputWatch:
    """The input files of a run and their content at its start.

    Parameters
    ----------
    stamps
        Stamp of each file by its absolute path, taken before the file was hashed.
    identity
        Content of the files.
    """

    def __init__(self, stamps: Mapping[Path, Stamp], identity: RunIdentity) -> None:
        self._stamps = dict(stamps)
        self._digests = {Path(file.path): file.sha256 for file in identity.input_files()}

    def check(self) -> None:
        """Refuse to go on if the stamp and the content of a file have changed.

        Raises
        ------
        SourceChangedError
            With the name of the file.
        SourceError
            If the file cannot be read any more.
        """
        for path, before in self._stamps.items():
            now = _stamp(path)
            if not now.is_same(before):
                if not self._has_same_content(path):
                    raise SourceChangedError(
                        f"{path}: has changed while it was being restored; put it back as it was and give "
                        "the same command again, or remove what is begun of the result to start afresh"
                    )
                self._stamps[path] = now

    def check_content(self) -> None:
        """Refuse the result if the content of a file has changed although its stamp has not.

        Raises
        ------
        SourceChangedError
            With the name of the file.
        """
        for path, stamp in self._stamps.items():
            doubtful = stamp.is_fresh or stamp.size <= SMALL_BYTES
            if doubtful and not self._has_same_content(path):
                raise SourceChangedError(
                    f"{path}: has changed while it was being restored, and its time stamps do not show when; "
                    "remove what is begun of the result and give the same command again"
                )

    def _has_same_content(self, path: Path) -> bool:
        return file_identity(path).sha256 == self._digests[path]


def stamps_of(files: Iterable[Path]) -> dict[Path, Stamp]:
    """Take the stamps of files, by absolute path.

    Raises
    ------
    SourceError
        If a file cannot be opened, or its disk does not answer.
    """
    return {path.absolute(): _stamp(path.absolute()) for path in files}


def _stamp(path: Path) -> Stamp:
    """Take the stamp of a file, which must not have become a pipe: to read that might never end."""
    try:
        status = answered_within(FIRST_BYTES_S, path, lambda: _opened_status(path))
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be read any more ({(error.strerror or 'no reason given').lower()}); put it back "
            "and give the same command again"
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise SourceError(
            f"{path}: is no longer a regular file; put it back and give the same command again"
        )
    latest = max(status.st_mtime_ns, status.st_ctime_ns)
    return Stamp(
        device=status.st_dev,
        inode=status.st_ino,
        size=status.st_size,
        modified_ns=status.st_mtime_ns,
        changed_ns=status.st_ctime_ns,
        is_fresh=time.time_ns() - latest < CLOCK_NS,
    )


def _opened_status(path: Path) -> os.stat_result:
    """Status of a file. Opening it makes NFS ask the server instead of its cache."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.fstat(handle)
    finally:
        os.close(handle)
