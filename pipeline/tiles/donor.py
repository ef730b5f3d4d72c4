"""The donor of an image: one network, fitted to windows all over it, from whose weights the tiles start.

It is fitted once, before the tiles, and depends on the plan alone: neither the worker nor a killed run
changes a byte of it. Its weights are part of the provenance.
"""

from __future__ import annotations

import hashlib
import io
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from glassplate.models.donor.fit_donor import fit_donor
from glassplate.models.fit.problem import Measurement, Weights
from glassplate.pipeline.cached_source import cached_source
from glassplate.pipeline.errors import StoreError
from glassplate.pipeline.files import sha256_of, write_atomically
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.pools.pool import OnProgress, throttled
from glassplate.pipeline.provenance.records import DonorRecord
from glassplate.pipeline.sources.sample_windows import sample_windows
from glassplate.pipeline.tiles.seeds import donor_seed


@dataclass(frozen=True)
class DonorTask:
    """The one unit of work before the tiles."""

    plan: Plan
    path: Path
    """File that the weights are written to."""
    before: DonorFile | None = None
    """Weights of an earlier result that the fit starts from; None for random ones."""


@dataclass(frozen=True)
class DonorFile:
    """Weights that tiles start from."""

    path: Path
    sha256: str


def make_donor(task: DonorTask, on_progress: OnProgress) -> DonorRecord:
    """Fit the donor and write its weights.

    Returns
    -------
    record
        For the journal.

    Raises
    ------
    FloatingPointError
        If the fit diverges.
    """
    start = time.monotonic()
    plan = task.plan
    settings = plan.donor_settings
    measurements = _measurements(plan, settings.windows) if plan.donor_iterations else []
    on_progress = throttled(on_progress)

    def on_iteration(iteration: int) -> None:
        on_progress({"done": iteration})

    before = None if task.before is None else read_donor(task.before)
    if before is not None and plan.donor_iterations == 0:
        weights = before
    else:
        weights = fit_donor(measurements, plan.problem, settings, on_iteration, start=before)
    return DonorRecord(
        sha256=_write(task.path, weights),
        before=None if task.before is None else task.before.sha256,
        iterations=plan.donor_iterations,
        windows=len(measurements),
        seconds=round(time.monotonic() - start, 3),
    )


def _measurements(plan: Plan, count: int) -> list[Measurement]:
    """Measurements of windows spread over the image."""
    source = cached_source(plan.spec, plan.findings)
    return [
        plan.measurement(source.read(box, planes), donor_seed(plan.recipe.seed, place), box.corner)
        for place, (box, planes) in enumerate(sample_windows(source, count))
    ]


def _write(path: Path, weights: Weights) -> str:
    """Write the weights atomically; return the SHA-256 of the file."""
    buffer = io.BytesIO()
    # numpy 2.0 would take allow_pickle, which the types ask for, for one more array
    np.savez(buffer, **weights)  # type: ignore[arg-type]
    content = buffer.getvalue()
    write_atomically(path, content)
    return hashlib.sha256(content).hexdigest()


def donor_is(file: DonorFile) -> bool:
    """Whether the file of the weights is as it was written."""
    return file.path.is_file() and sha256_of(file.path) == file.sha256


@lru_cache(maxsize=4)
def read_donor(file: DonorFile) -> Weights:
    """Weights of a donor; cached, since a worker fits many tiles of one image.

    Raises
    ------
    StoreError
        If the file is not what was written.
    """
    if not donor_is(file):
        raise StoreError(
            f"{file.path}: the donor's weights are missing or damaged; give the same command again, "
            "it makes them anew"
        )
    with np.load(file.path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
