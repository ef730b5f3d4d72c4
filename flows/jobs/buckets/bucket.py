"""Objects in a bucket of S3, or of a store that speaks its language, through obstore.

Keys, endpoint and region are those of the environment (``AWS_ACCESS_KEY_ID`` and the like) or of the
machine's role, never of a job file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from glassplate.pipeline.errors import DiskFullError, PassingError, UsageError, is_disk_full
from glassplate.pipeline.files import replacing
from glassplate.pipeline.text import one_line, without_secrets

SCHEME = "s3://"

# A request is repeated when the store does not answer or is overloaded. Not measured: a restart of a store
# takes minutes, and what is not there by then waits for the next run of the job.
RETRIES = {"max_retries": 8, "retry_timeout": timedelta(minutes=5)}

# Bytes that are read from a store at a time.
PIECE_BYTES = 8 << 20


@dataclass(frozen=True)
class BucketUrl:
    """A bucket and a key in it, or the beginning of keys: ``s3://bucket/key``."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> BucketUrl:
        """Read a URL.

        Raises
        ------
        ValueError
            If it is not that of a bucket, or holds a password.
        """
        found = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]+)(?:/(.*))?", text)
        if found is None:
            raise ValueError(
                f"{without_secrets(text)}: expected s3://BUCKET/KEY; keys of access belong into the "
                "environment, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        return cls(found[1], found[2] or "")

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"


@dataclass(frozen=True)
class StoredObject:
    """An object as a listing shows it."""

    size: int
    etag: str
    """Changes with the content."""


class Bucket:
    """A bucket; threads may share it.

    Raises
    ------
    UsageError
        If obstore is not installed.
    """

    def __init__(self, name: str) -> None:
        try:
            from obstore.store import S3Store
        except ImportError as error:
            raise UsageError(
                f'{SCHEME}{name}: obstore is not installed; pip install "glassplate[s3]"'
            ) from error
        self.name = name
        # a store on the own network may have no certificate; its address says so
        endpoint = os.environ.get("AWS_ENDPOINT_URL", "") or os.environ.get("AWS_ENDPOINT", "")
        options: Any = {"allow_http": endpoint.startswith("http://")}
        self._store = S3Store(name, client_options=options, retry_config=RETRIES)

    def objects(self, prefix: str) -> dict[str, StoredObject]:
        """List the objects whose keys begin with a text that ends at a slash, by key.

        Raises
        ------
        PassingError, UsageError
            If the store does not answer, or refuses.
        """
        import obstore

        with self._errors(prefix):
            return {
                one["path"]: StoredObject(one["size"], one["e_tag"] or "")
                for page in obstore.list(self._store, prefix)
                for one in page
            }

    def state(self, key: str) -> StoredObject | None:
        """State of one object; None if there is none.

        Raises
        ------
        PassingError, UsageError
            As `objects`.
        """
        import obstore

        try:
            with self._errors(key):
                found = obstore.head(self._store, key)
        except FileNotFoundError:
            return None
        return StoredObject(found["size"], found["e_tag"] or "")

    def download(self, key: str, target: Path) -> None:
        """Copy an object to a file, which appears whole or not at all.

        Raises
        ------
        PassingError, UsageError
            As `objects`; also if the disk is full.
        FileNotFoundError
            If there is no such object.
        """
        import obstore

        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            self._errors(key),
            replacing(target, target.with_name(f".{target.name}.partial")) as partial,
            partial.open("wb") as file,
        ):
            answer = obstore.get(self._store, key)
            for piece in answer.stream(min_chunk_size=PIECE_BYTES):
                file.write(piece)
            if file.tell() != answer.meta["size"]:
                raise TimeoutError(f"{file.tell()} of {answer.meta['size']} bytes arrived")

    def upload(self, source: Path, key: str) -> None:
        """Copy a file to an object, which appears whole or not at all.

        Raises
        ------
        PassingError, UsageError
            As `objects`.
        """
        import obstore

        with self._errors(key):
            obstore.put(self._store, key, source)

    def remove(self, keys: list[str]) -> None:
        """Remove objects, if they are there.

        Raises
        ------
        PassingError, UsageError
            As `objects`.
        """
        import obstore

        if keys:
            with self._errors(keys[0]):
                obstore.delete(self._store, keys)

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """Turn the errors of obstore into those of a job: a refusal lasts, any other passes."""
        from obstore.exceptions import (
            BaseError,
            InvalidPathError,
            PermissionDeniedError,
            UnauthenticatedError,
        )

        url = BucketUrl(self.name, key)
        try:
            yield
        except (FileNotFoundError, PassingError, UsageError):
            raise
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise UsageError(
                f"{url}: the store refuses access; look at AWS_ACCESS_KEY_ID and the rights of the key"
            ) from error
        except InvalidPathError as error:
            raise UsageError(
                f"{url}: holds an object whose key no file can have ({one_line(error)}); remove it, or "
                "name a folder without it"
            ) from error
        except (BaseError, OSError) as error:
            if is_disk_full(error):
                raise DiskFullError(f"{url}: the disk is full; free some space") from error
            raise PassingError(
                f"{url}: the store does not answer as it should ({one_line(error)}); give the same command "
                "again"
            ) from error
