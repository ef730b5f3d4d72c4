"""Finished results on their way to a bucket."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from glassplate.flows.accounts.entry import Entry
from glassplate.flows.jobs.buckets.bucket import Bucket, BucketUrl
from glassplate.flows.report.job_log import JobLog
from glassplate.pipeline.errors import GlassplateError, PassingError, UsageError
from glassplate.pipeline.files import write_atomically
from glassplate.pipeline.pages.job_account import ACCOUNT
from glassplate.pipeline.provenance.folder import MANIFEST, provenance_path
from glassplate.pipeline.text import one_line, plural

# What has been uploaded: the run of each result, by the name of the result.
RECORD = ".uploaded.json"

# Files that are uploaded at the same time.
AT_ONCE = 8


class Uploads:
    """Uploads the results of a job and its account; threads may share it.

    The manifest of a result is uploaded last. A result in the bucket without a manifest is not finished.

    Parameters
    ----------
    output
        Folder of the results.
    url
        Where they go: each result and each export has the same name below it.
    log
        Is told which results are uploaded, and which could not be.

    Raises
    ------
    UsageError
        If obstore is not installed, or the account of another job is where this one's is to go.
    """

    def __init__(self, output: Path, url: BucketUrl, log: JobLog) -> None:
        self._output = output
        self._url = url
        self._log = log
        self._bucket = Bucket(url.bucket)
        self._guard = threading.Lock()
        try:
            self._done: dict[str, str] = json.loads((output / RECORD).read_text("utf-8"))
        except (OSError, ValueError):
            self._done = {}
        # a store that does not answer now may do so when the first image is done
        with suppress(PassingError):
            self._claim()

    def _claim(self) -> None:
        """Refuse a place that has an account, unless this folder has uploaded there before."""
        with self._guard:
            if (self._output / RECORD).is_file():
                return
            account = self._output / ACCOUNT
            if self._bucket.state(self._key(account)) is None:
                write_atomically(self._output / RECORD, json.dumps(self._done))
                return
        raise UsageError(
            f"upload: {self._url}/{ACCOUNT} is the account of another job or output folder; give this job "
            "another folder in the bucket, or remove that file"
        )

    def add(self, entry: Entry) -> GlassplateError | None:
        """Upload the result of an image with its exports, if it is complete and not there already.

        Returns
        -------
        error
            Why it could not be uploaded; None if it is there.
        """
        if not entry.complete or self._done.get(entry.result) == self._state(entry):
            return None
        try:
            self._claim()
            self._upload(entry)
        except GlassplateError as error:
            self._log.write(logging.WARNING, f"not uploaded: {one_line(error)}", image=entry.result)
            return error
        with self._guard:
            self._done[entry.result] = self._state(entry)
            write_atomically(self._output / RECORD, json.dumps(self._done))
        self._log.write(logging.INFO, f"uploaded to {self._url}", image=entry.result)
        return None

    def finish(self, entries: Iterable[Entry], others: Iterable[Path]) -> None:
        """Upload what has not been uploaded yet, and other files of the job, such as its account.

        Raises
        ------
        PassingError
            If some results could not be uploaded.
        """
        faults = [error for entry in entries if (error := self.add(entry)) is not None]
        if faults:
            raise PassingError(
                f"{plural(len(faults), 'result')} not uploaded: {one_line(faults[0])}; they are complete in "
                f"{self._output}"
            )
        self._claim()
        for path in others:
            if path.is_file():
                self._bucket.upload(path, self._key(path))

    def _upload(self, entry: Entry) -> None:
        store = self._output / entry.result
        manifest = provenance_path(store, MANIFEST)
        # what is hidden is scratch
        files = [
            path
            for path in store.rglob("*")
            if path.is_file() and path != manifest and not _is_hidden(path.relative_to(store))
        ]
        keys = {self._key(path): path for path in files}
        before = self._bucket.objects(self._key(store) + "/")
        # an earlier result of this name is no longer whole from here on
        self._bucket.remove([key for key in before if key == self._key(manifest)])
        self._bucket.remove(
            [key for key in before if key not in keys and key != self._key(manifest)]
        )
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="upload") as threads:
            list(threads.map(lambda key: self._bucket.upload(keys[key], key), keys))
        for export in map(Path, entry.exports):
            if export.is_file() and export.is_relative_to(self._output):
                self._bucket.upload(export, self._key(export))
        self._bucket.upload(manifest, self._key(manifest))

    def _key(self, path: Path) -> str:
        below = path.relative_to(self._output).as_posix()
        return f"{self._url.key.rstrip('/')}/{below}".lstrip("/")

    @staticmethod
    def _state(entry: Entry) -> str:
        """Text that changes with the result and its exports."""
        return json.dumps([entry.run_id, entry.manifest, sorted(entry.exports.items())])


def _is_hidden(below: Path) -> bool:
    return any(part.startswith(".") for part in below.parts)
