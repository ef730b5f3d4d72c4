"""Whether the input files of a run are still those that it began with.

A file that changes while it is restored would give a result of both contents. So each file is looked at
again before anything that was made from it is taken for done, and once more before the result is recorded.

Its content would say it for certain, but reading a file of 100 GB anew for each tile is out of the question.
So its time stamps, size and inode decide while the run goes on, and content is compared where one of these
has changed: a file that was touched, copied back, or given other rights is the same file. At the end content
is compared again wherever the stamps might be wrong: where they were so fresh that a second change may
have left them as they were, and, since that costs nothing, in every file of moderate size.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.provenance.identity import RunIdentity, file_identity

# The coarsest clock of a file system in use is that of FAT: two seconds. Two changes within one tick of it
# leave the same stamp.
CLOCK_NS = 2_000_000_000

# Files up to here are read again at the end whatever their stamps say: at SHA-256's 0.4 GB/s without
# instructions of its own (1 to 2 GB/s with) that is less than a second.
SMALL_BYTES = 256 << 20


@dataclass(frozen=True)
class Stamp:
    """What a file system says of a file without reading it."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int
    """Of content, name or rights; no program can set it back, as it can the time before."""
    is_fresh: bool
    """Whether it changed so shortly before it was looked at that the stamp may outlive the next change."""

    def is_same(self, other: Stamp) -> bool:
        """Whether two stamps are of the same state of a file; how fresh they were does not count."""
        return _state(self) == _state(other)


def _state(stamp: Stamp) -> tuple[int, ...]:
    return (stamp.device, stamp.inode, stamp.size, stamp.modified_ns, stamp.changed_ns)


class InputWatch:
    """The input files of a run, and what they held when it began.

    Parameters
    ----------
    stamps
        Of each file by its absolute path, taken before it was hashed.
    identity
        What the files held.
    """

    def __init__(self, stamps: Mapping[Path, Stamp], identity: RunIdentity) -> None:
        self._stamps = dict(stamps)
        self._digests = {Path(file.path): file.sha256 for file in identity.input_files()}

    def check(self) -> None:
        """Refuse to go on where a file's stamp has changed, and its content with it.

        Raises
        ------
        SourceError
            Naming the file.
        """
        for path, before in self._stamps.items():
            now = _stamp(path)
            if not now.is_same(before):
                if not self._holds_the_same(path):
                    raise SourceError(
                        f"{path}: has changed while it was being restored; put it back as it was and give "
                        "the same command again, or remove what is begun of the result to start afresh"
                    )
                self._stamps[path] = now

    def check_content(self) -> None:
        """Refuse a result where a file's content has changed though its stamp has not.

        Raises
        ------
        SourceError
            Naming the file.
        """
        for path, stamp in self._stamps.items():
            doubtful = stamp.is_fresh or stamp.size <= SMALL_BYTES
            if doubtful and not self._holds_the_same(path):
                raise SourceError(
                    f"{path}: has changed while it was being restored, and its time stamps do not show when; "
                    "remove what is begun of the result and give the same command again"
                )

    def _holds_the_same(self, path: Path) -> bool:
        return file_identity(path).sha256 == self._digests[path]


def stamps_of(files: Iterable[Path]) -> dict[Path, Stamp]:
    """Stamps of files by their absolute path.

    Raises
    ------
    SourceError
        If one cannot be looked at.
    """
    return {path.absolute(): _stamp(path.absolute()) for path in files}


def _stamp(path: Path) -> Stamp:
    """Stamp of a file. It is opened for that: NFS then asks the server, and does not answer from memory."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            status = os.fstat(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be read any more ({(error.strerror or 'no reason given').lower()}); put it back "
            "and give the same command again"
        ) from error
    latest = max(status.st_mtime_ns, status.st_ctime_ns)
    return Stamp(
        device=status.st_dev,
        inode=status.st_ino,
        size=status.st_size,
        modified_ns=status.st_mtime_ns,
        changed_ns=status.st_ctime_ns,
        is_fresh=time.time_ns() - latest < CLOCK_NS,
    )
