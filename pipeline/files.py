"""Files: their SHA-256, and writing so that a file appears whole or not at all."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(target: Path, partial: Path) -> Iterator[Path]:
    """Rename a file to `target` when the body ends well, and remove it otherwise.

    Parameters
    ----------
    target
        An existing file is replaced.
    partial
        Name in the same folder under which the body writes.
    """
    try:
        yield partial
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def write_atomically(target: Path, content: bytes | memoryview | str) -> None:
    """Write a file so that no reader ever sees a part of it; text is written as UTF-8.

    The temporary name is unique, because two workers may write the same file at the same time. It ends with
    ``.partial``: the next run removes the files that a killed process leaves.
    """
    data = content.encode() if isinstance(content, str) else content
    with replacing(
        target, target.with_name(f"{target.name}.{uuid.uuid4().hex}.partial")
    ) as partial:
        partial.write_bytes(data)
