"""A journal of finished work: one JSON document per line, only ever appended.

A line is the proof that a piece of work is finished; an existing file proves nothing. A process that is
killed while it writes leaves an incomplete last line, which is cut off when the journal is opened again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from glassplate.pipeline.errors import StoreError

# Key of the run that wrote a line.
_RUN = "run"


def read_journal(path: Path, run_id: str | None = None) -> list[dict[str, Any]]:
    """Read the records of a journal in their order, without an incomplete last line.

    Parameters
    ----------
    path
        The file. If it is missing, there are no records.
    run_id
        Run whose records are wanted; None for all runs. Lines of early versions name no run and always count.

    Raises
    ------
    StoreError
        If a complete line is no JSON: this is not the trace of a kill, something else wrote into the file.
    """
    records = []
    for line in _lines(path):
        run = line.pop(_RUN, None)
        if run is None or run_id is None or run == run_id:
            records.append(line)
    return records


def runs_in_journal(path: Path) -> set[str]:
    """Return the runs that the lines of a journal name.

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
    """A journal that is open for appending. One process writes it, any process may read it.

    Parameters
    ----------
    path
        The file, which is made if it is missing.
    run_id
        The run that writes. Each line names it, so that no other run counts the line as its own.
    """

    def __init__(self, path: Path, run_id: str | None = None) -> None:
        self.path = path
        self._run = {} if run_id is None else {_RUN: run_id}
        if path.is_file():
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                os.truncate(path, whole)
        self._file = path.open("ab")

    def append(self, *records: Mapping[str, Any]) -> None:
        """Write records, and hand all of them to the operating system in one piece."""
        lines = [
            json.dumps(
                {**record, **self._run}, separators=(",", ":"), sort_keys=True, allow_nan=False
            )
            + "\n"
            for record in records
        ]
        self._file.write("".join(lines).encode())
        self._file.flush()

    def close(self) -> None:
        """Flush the records to the disk and close the file."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
