"""Restoring an image of which there may be an earlier result of other settings, as the job says."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator, Set
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from glassplate.flows.jobs.image import Image, beside
from glassplate.flows.jobs.inputs.input_files import STORE_SUFFIX
from glassplate.flows.jobs.job import Job
from glassplate.flows.jobs.running.verdicts import verdict_of
from glassplate.pipeline.errors import ChangedError, SpoiledError, UsageError
from glassplate.pipeline.events import Listener, Warned
from glassplate.pipeline.store.lock import locked
from glassplate.pipeline.text import one_line

Result = TypeVar("Result")

# Results of one image that are looked at. A job that keeps more has another fault.
MOST_CHANGES = 100


def versions_of(image: Image, taken: Set[Path]) -> Iterator[Image]:
    """Yield the image with the names that its results may have if earlier ones are kept: a, a.v2, a.v3.

    Parameters
    ----------
    image
        Of the job.
    taken
        Results of all images of the job; a version never takes one of another image.
    """
    yield image
    number = 2
    while True:
        store = beside(image.store, f".v{number}{STORE_SUFFIX}")
        if store not in taken:
            yield replace(image, store=store)
        number += 1


def restore_by_policy(
    image: Image,
    job: Job,
    taken: Set[Path],
    work: Callable[[Image], Result],
    listener: Listener,
) -> tuple[Image, Result]:
    """Restore an image; what becomes of a result of other settings is up to `job.changed`.

    A result whose run has not ended cannot be resumed with other settings, and is begun anew in any case.

    Parameters
    ----------
    image
        Of the job.
    job
        The job.
    taken
        Results of all images of the job.
    work
        Restores an image under the name that it has; raises `ChangedError` where a result is in the way.
    listener
        Is told of each result that is begun anew.

    Returns
    -------
    image
        With the name of its result.
    result
        Of `work`.

    Raises
    ------
    ChangedError
        If the job leaves such results as they are.
    """
    versions = versions_of(image, taken)
    named = next(versions)
    try:
        for _ in range(MOST_CHANGES):
            try:
                result = work(named)
                break
            except ChangedError as error:
                if error.ended and job.changed == "keep-both":
                    named = next(versions)
                else:
                    _make_room(error, job, image.store, listener)
            except SpoiledError as error:
                listener(Warned(image.store, f"begun anew: {one_line(error)}"))
                discard(error.store)
        else:
            raise UsageError(
                f"{image.store}: {MOST_CHANGES} results of other settings are kept already; remove some"
            )
    except Exception as error:
        # what may be tried again goes on from what is begun; else the earlier result is the better one
        if not verdict_of(error).passing:
            for store in named.stores:
                put_back(store)
        raise
    for store in named.stores:
        shutil.rmtree(_aside(store), ignore_errors=True)
    return named, result


def _make_room(error: ChangedError, job: Job, named: Path, listener: Listener) -> None:
    """Take a result of other settings out of the way, if it may be."""
    if not error.ended:
        listener(Warned(named, f"begun anew: what was begun is {error.difference}"))
        discard(error.store)
    elif job.changed == "redo":
        listener(Warned(named, f"made anew: the result was {error.difference}"))
        put_aside(error.store)
    else:
        raise error


def discard(store: Path) -> None:
    """Remove a result, at once for whoever looks at its name.

    Raises
    ------
    BusyError
        If another run is writing it.
    """
    with locked(store, "beginning anew"):
        gone = store.with_name(f".{store.name}.{uuid.uuid4().hex}.gone")
        store.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def put_aside(store: Path) -> None:
    """Keep a result under a hidden name until another one has taken its place.

    Raises
    ------
    BusyError
        If another run is writing it.
    """
    with locked(store, "making it anew"):
        shutil.rmtree(_aside(store), ignore_errors=True)
        store.rename(_aside(store))


def put_back(store: Path) -> None:
    """Put a result that was put aside, if there is one, in place of what was begun since."""
    if not _aside(store).is_dir():
        return
    if store.exists():
        discard(store)
    with locked(store, "putting it back"):
        _aside(store).rename(store)


def _aside(store: Path) -> Path:
    return store.with_name(f".{store.name}.before")
