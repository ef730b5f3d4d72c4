"""Copies of the inputs that lie in buckets, as the bucket has them now."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path

from glassplate.flows.jobs.buckets.bucket import SCHEME, Bucket, BucketUrl, StoredObject
from glassplate.flows.jobs.inputs.input_files import Chosen, has_image_suffix, is_meant
from glassplate.flows.jobs.job import Job, JobInput
from glassplate.pipeline.errors import PassingError
from glassplate.pipeline.files import write_atomically
from glassplate.pipeline.text import amount, plural

# Hidden, so that no pattern takes the copies for further inputs.
COPIES = ".inputs"

# Which state of each object has been copied.
RECORD = ".copied.json"

_MAGIC = re.compile(r"[*?\[]")

# Objects that are copied at the same time: one alone does not fill a network.
AT_ONCE = 4


def with_copies(job: Job, say: Callable[[str], None]) -> Job:
    """Copy the inputs that lie in buckets into the output folder, and return the job of these copies.

    An object is copied once, and again when it has changed. Copies of objects that are gone are removed. Each
    bucket is listed once for each entry.

    Parameters
    ----------
    job
        The job; without inputs in buckets it is returned as it is.
    say
        Called with a line for each bucket from which objects are copied.

    Raises
    ------
    PassingError
        If a store does not answer, or the disk is full.
    UsageError
        If a store refuses access, or obstore is not installed.
    """
    if not any(entry.path.startswith(SCHEME) for entry in job.inputs):
        return job
    inputs = tuple(
        _with_copies(job, entry, say) if entry.path.startswith(SCHEME) else entry
        for entry in job.inputs
    )
    return job.model_copy(update={"inputs": inputs})


def copies_folder(output: Path, bucket: str) -> Path:
    """Folder of the copies from a bucket."""
    return output / COPIES / bucket


def _with_copies(job: Job, entry: JobInput, say: Callable[[str], None]) -> JobInput:
    url = BucketUrl.parse(entry.path)
    folder = copies_folder(job.output, url.bucket)
    owner = entry if entry.model_fields_set & {"include", "exclude"} else job
    bucket = Bucket(url.bucket)
    place, listed = _listed(bucket, url)
    wanted = _wanted(url, place, listed, Chosen(owner.include, owner.exclude))
    copied = _read_record(folder)
    for key in [key for key in copied if _lies_in(key, place) and key not in listed]:
        (folder / key).unlink(missing_ok=True)
        del copied[key]
    missing = [
        key
        for key, state in wanted.items()
        if copied.get(key) != state.etag or not _has_size(folder / key, state.size)
    ]
    if missing:
        total = amount(sum(wanted[key].size for key in missing))
        say(f"{url}: copying {plural(len(missing), 'object')} of {len(wanted)}, {total}")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="copy") as threads:
            for key in threads.map(lambda key: _copied(bucket, key, folder), missing):
                copied[key] = wanted[key].etag
    finally:
        write_atomically(folder / RECORD, json.dumps(copied))
    return entry.model_copy(update={"path": str(folder / url.key)})


def _copied(bucket: Bucket, key: str, folder: Path) -> str:
    """Copy an object; return its key."""
    try:
        bucket.download(key, folder / key)
    except FileNotFoundError as error:
        raise PassingError(
            f"{BucketUrl(bucket.name, key)}: was removed while the job looked at it; give the same "
            "command again"
        ) from error
    return key


def _listed(bucket: Bucket, url: BucketUrl) -> tuple[str, dict[str, StoredObject]]:
    """All objects among which those of an entry are, and the key or the folder in which they lie."""
    magic = _MAGIC.search(url.key)
    if magic is None:
        one = bucket.state(url.key) if url.key and not url.key.endswith("/") else None
        if one is not None:
            return url.key, {url.key: one}
        place = url.key.removesuffix("/")
    else:
        place = url.key[: magic.start()].rpartition("/")[0]
    return place, bucket.objects(f"{place}/" if place else "")


def _wanted(
    url: BucketUrl, place: str, listed: Mapping[str, StoredObject], chosen: Chosen
) -> dict[str, StoredObject]:
    """The objects that an entry means, as it would mean files."""
    if url.key in listed:
        return dict(listed)
    wanted: dict[str, StoredObject] = {}
    for key, state in listed.items():
        below = key.removeprefix(f"{place}/" if place else "")
        # hidden files, and keys that are no path of a file
        if any(part in ("", "..") or part.startswith(".") for part in key.split("/")):
            continue
        if not is_meant(below, chosen):
            continue
        if _MAGIC.search(url.key):
            is_match = _fits(key, url.key)
        else:
            is_match = bool(chosen.include) or has_image_suffix(Path(key))
        if is_match:
            wanted[key] = state
    return wanted


def _fits(key: str, pattern: str) -> bool:
    """Whether a key fits a pattern, in which ``*`` stands for a part of a name between two slashes."""
    names, patterns = key.split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(map(fnmatchcase, names, patterns))


def _lies_in(key: str, place: str) -> bool:
    return not place or key == place or key.startswith(f"{place}/")


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _read_record(folder: Path) -> dict[str, str]:
    """ETag of each object that was copied, by its key; without the record, all are copied again."""
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): str(etag) for key, etag in record.items()} if isinstance(record, dict) else {}
