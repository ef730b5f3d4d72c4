"""Names of the results of a job: from the file, the image in it, and the entry of the job."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

from glassplate.flows.jobs.job import JobInput

Parts: TypeAlias = dict[str, set[Any]]


def stem_of(path: Path) -> str:
    """Return the file's name without the suffixes of its format: ``m31`` for ``m31.fits.gz``."""
    name = path.name
    for compressed in (".gz", ".bz2", ".Z", ".fz"):
        name = name.removesuffix(compressed)
    return Path(name).stem


def name_of_hdu(hdu: int | str | tuple[int | str, ...] | None) -> str:
    """HDU, or several of them, as a part of the name of a file."""
    text = "+".join(map(str, hdu)) if isinstance(hdu, tuple) else str(hdu)
    return re.sub(r"[/*?\[\]]", "_", text)


def parts_of(entries: Iterable[JobInput]) -> Parts:
    """The HDU and page of each entry, by the path of its file."""
    parts: Parts = {}
    for entry in entries:
        parts.setdefault(normalised(entry.path), set()).add((entry.hdu, entry.page))
    return parts


def suffix_of(parts: Parts, entry: JobInput) -> str:
    """Suffix of a result's name that tells apart the entries for different images of one path.

    It follows from the job alone and not from files on disk, so that a result has the same name each
    night. It is empty if no other entry has the same path.
    """
    if len(parts[normalised(entry.path)]) < 2:
        return ""
    suffix = "" if entry.hdu is None else f"-{name_of_hdu(entry.hdu)}"
    return suffix + ("" if entry.page is None else f"-page{entry.page}")


def normalised(path: Path | str) -> str:
    """The same text for every way to write a path."""
    return os.path.abspath(path)
