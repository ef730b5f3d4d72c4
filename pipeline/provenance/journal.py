"""An append-only record of what is done: one JSON document a line.

A line is the proof that a piece of work is finished; a file that exists proves nothing. A process
killed while it writes leaves a torn last line, which is cut off when the journal is opened again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from glassplate.pipeline.errors import StoreError

# Key of a line that names the run which wrote it.
_RUN = "run"


def read_journal(path: Path, run_id: str | None = None) -> list[dict[str, Any]]:
    """Records of a journal in the order they were written; a torn last line does not count.

    Parameters
    ----------
    path
        The file; no records where it is missing.
    run_id
        Run whose records are wanted; None: those of any. Lines of before runs were named are of any run.

    Raises
    ------
    StoreError
        If a whole line is no record: not a kill, something else wrote into the file.
    """
    records = []
    for line in _lines(path):
        run = line.pop(_RUN, None)
        if run is None or run_id is None or run == run_id:
            records.append(line)
    return records


def runs_in_journal(path: Path) -> set[str]:
    """Runs that are named in the lines of a journal.

    Raises
    ------
    StoreError
        As `read_journal`.
    """
    return {line[_RUN] for line in _lines(path) if _RUN in line}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    for number, line in enumerate(_whole_lines(path.read_bytes()), 1):
        try:
            yield json.loads(line)
        except ValueError as error:
            raise StoreError(
                f"{path}: line {number} is damaged; remove the result and restore it anew"
            ) from error


def _whole_lines(content: bytes) -> list[bytes]:
    return content[: content.rfind(b"\n") + 1].splitlines()


class Journal:
    """A journal open for appending; one process writes, whichever read.

    Parameters
    ----------
    path
        The file; made where it is missing.
    run_id
        Run that writes: named in each line, so that no other takes it for its own.
    """

    def __init__(self, path: Path, run_id: str | None = None) -> None:
        self.path = path
        self._marks = {} if run_id is None else {_RUN: run_id}
        if path.is_file():
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                os.truncate(path, whole)
        self._file = path.open("ab")

    def append(self, *records: Mapping[str, Any]) -> None:
        """Write records and hand them to the operating system at once, all in one piece."""
        lines = [
            json.dumps(
                {**record, **self._marks}, separators=(",", ":"), sort_keys=True, allow_nan=False
            )
            + "\n"
            for record in records
        ]
        self._file.write("".join(lines).encode())
        self._file.flush()

    def close(self) -> None:
        """Put the records on the disk and close."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
