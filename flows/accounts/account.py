"""The account of a job, ``job.jsonl`` beside its results: one line for each image, the last one counts.

Lines are appended while a job runs, so that a killed job loses none. At the end of a run the file is written
anew with one line for each image. Jobs that share an output folder share the file.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path

from glassplate.flows.accounts.entry import Entry
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.files import write_atomically
from glassplate.pipeline.pages.job_account import ACCOUNT, read_account


class Account:
    """The account in an output folder; several threads and processes may use it at once.

    Parameters
    ----------
    folder
        The output folder. It is made when the first line is written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / ACCOUNT
        self._entries = _read(self.path)
        self._recorded: dict[str, Entry] = {}

    def entry(self, name: str) -> Entry | None:
        """Return what is known of a result; None if nothing is."""
        return self._entries.get(name)

    def entries(self) -> Iterable[Entry]:
        """Return all entries, also those of other jobs of the folder."""
        return self._entries.values()

    def append(self, *entries: Entry) -> None:
        """Write entries at the end of the file, at once.

        Raises
        ------
        UsageError
            If the file cannot be written.
        """
        self.note(*entries)
        if not entries:
            return
        text = "".join(_line(entry) for entry in entries)
        with self._locked(), self.path.open("a", encoding="utf-8") as file:
            file.write(text)

    def note(self, *entries: Entry) -> None:
        """Keep entries that are written with the next `close`: a job that is killed finds them out again."""
        for entry in entries:
            self._entries[entry.name] = self._recorded[entry.name] = entry

    def close(self, job: str, found: Set[str]) -> None:
        """Write the file anew, with one line for each image.

        Lines of the job for images that it does not find any more are left out. What other jobs have
        written meanwhile stays.

        Parameters
        ----------
        job
            Name of the job.
        found
            Names of all results that the job asks for now.

        Raises
        ------
        UsageError
            If the file cannot be written.
        """
        with self._locked():
            entries = _read(self.path) | self._recorded
            kept = [one for one in entries.values() if one.job != job or one.name in found]
            write_atomically(self.path, "".join(_line(entry) for entry in kept))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Wait until no other thread or process writes the file; each writes for milliseconds."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.with_name(f".{ACCOUNT}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise UsageError(
                f"{self.path}: the account of the job cannot be written: {error.strerror}; choose "
                "another output folder"
            ) from error


def _line(entry: Entry) -> str:
    return json.dumps(entry.to_json()) + "\n"


def _read(path: Path) -> dict[str, Entry]:
    return read_account(path, Entry.from_json)
