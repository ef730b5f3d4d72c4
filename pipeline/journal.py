"""An append-only record of what is done: one JSON document a line.

A line is the proof that a piece of work is finished; a file that exists proves nothing. A process
killed while it writes leaves a torn last line, which is cut off when the journal is opened again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Records of a journal in the order they were written; a torn last line does not count."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in _whole_lines(path.read_bytes())]


def _whole_lines(content: bytes) -> list[bytes]:
    return content[: content.rfind(b"\n") + 1].splitlines()


class Journal:
    """A journal open for appending; one process writes, whichever read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_file():
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                os.truncate(path, whole)
        self._file = path.open("ab")

    def append(self, *records: Mapping[str, Any]) -> None:
        """Write records and hand them to the operating system at once, all in one piece."""
        lines = [
            json.dumps(dict(record), separators=(",", ":"), sort_keys=True, allow_nan=False) + "\n"
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
