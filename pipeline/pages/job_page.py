"""The page of a job: a table of all its images that can be sorted, with a picture of each."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from glassplate.pipeline.errors import GlassplateError, UsageError
from glassplate.pipeline.pages.drawing import choose_stretch, jpeg, picture
from glassplate.pipeline.pages.html import check_page_target, is_page, write_page
from glassplate.pipeline.pages.job_account import ACCOUNT, PAGE_NAME
from glassplate.pipeline.pages.job_rows import JobRow, job_rows, totals
from glassplate.pipeline.pages.overview import halved
from glassplate.pipeline.pages.result_page import page_of, write_result_page
from glassplate.pipeline.pages.shown_result import ShownResult
from glassplate.pipeline.provenance.folder import MANIFEST, provenance_path
from glassplate.pipeline.text import duration, number, plural, printable

# Longest side of a picture in the table, pixels: a thousand of them are 4 MB.
THUMBNAIL = 96
# A picture in the table, as `job.html` has it.
_DRAWN = re.compile(r'<img data-of="([\w.-]+)" alt="[^"]*" src="([^"]+)">')


def write_job_page(folder: Path, target: Path | None = None, *, overwrite: bool = False) -> Path:
    """Write the table of a job: one HTML file that opens without a network.

    Each image links to its own page, if that is beside its result.

    Parameters
    ----------
    folder
        The output folder of a job, with its account and its results.
    target
        Name of the page; None for ``report.html`` in the folder. An earlier page is replaced.
    overwrite
        Whether a file is replaced that glassplate did not write.

    Raises
    ------
    UsageError
        If the name is not suitable, or the folder holds neither results nor the account of a job.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder; name that of a job's results")
    target = folder / PAGE_NAME if target is None else target
    check_page_target(target, overwrite=overwrite)
    rows = job_rows(folder)
    counts, drawn = totals(rows), _drawn_before(target)
    return write_page(
        target,
        "job.html",
        title=printable(folder.absolute().name),
        total=len(rows),
        states=[{"name": name, "count": count} for name, count in counts.items()],
        seconds=duration(sum(row.seconds for row in rows)),
        has_account=(folder / ACCOUNT).is_file(),
        rows=[_cells(row, target.absolute().parent, drawn) for row in rows],
        images=plural(len(rows), "image"),
    )


def write_pages(folder: Path) -> Iterator[Path | GlassplateError]:
    """Write the page of each result of a job that has none, or one that is older than the result.

    Yields each page once it is written, or why it could not be written: a damaged result does not keep the
    others from having theirs. Results that have not ended have no page.
    """
    for row in job_rows(folder):
        page = page_of(row.store)
        if row.manifest is None or not row.manifest.has_ended or _is_newer(page, row.store):
            continue
        try:
            yield write_result_page(row.store, page)
        except GlassplateError as error:
            yield error


def _is_newer(page: Path, store: Path) -> bool:
    """Whether a page was written after the run of its result ended."""
    made = provenance_path(store, MANIFEST).stat().st_mtime_ns
    return page.is_file() and page.stat().st_mtime_ns >= made


def _cells(row: JobRow, beside: Path, drawn: Mapping[str, str]) -> dict[str, Any]:
    """What the table shows of an image."""
    manifest, page, state = row.manifest, page_of(row.store), _state_of(row)
    summary = None if manifest is None else manifest.summary
    return {
        "label": row.label,
        "page": _link(page, beside) if is_page(page) else None,
        "state": row.state,
        "status": row.status,
        "reason": row.reason,
        "remedy": row.remedy,
        "ended": row.ended.replace("T", " ").removesuffix("+00:00"),
        "seconds": round(row.seconds, 3),
        "duration": duration(row.seconds) if row.seconds else "",
        "recipe": "" if manifest is None else manifest.recipe_name,
        "before": None if summary is None else summary.noise_before,
        "after": None if summary is None else summary.noise_after,
        "before_text": "" if summary is None else number(summary.noise_before, summary.unit),
        "after_text": "" if summary is None else number(summary.noise_after, summary.unit),
        "size": "" if manifest is None else _size(manifest.plan.output_shape),
        "pixels": 0 if manifest is None else math.prod(manifest.plan.output_shape),
        "drawn_of": state,
        "thumbnail": drawn.get(state) or _thumbnail(row),
    }


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(length) for length in shape)


def _link(page: Path, beside: Path) -> str:
    """Address of a page, as seen from a folder."""
    try:
        return quote(str(page.relative_to(beside)))
    except ValueError:
        return page.as_uri()


def _state_of(row: JobRow) -> str:
    """What changes with the pixels of a result; empty where there is nothing to draw."""
    if row.manifest is None or not row.manifest.has_ended:
        return ""
    try:
        written = provenance_path(row.store, MANIFEST).stat().st_mtime_ns
    except OSError:
        return ""
    return f"{row.manifest.run_id}.{written}"


def _drawn_before(page: Path) -> dict[str, str]:
    """The pictures of an earlier page, by the state of their results: to draw them takes most of the time."""
    return dict(_DRAWN.findall(page.read_text("utf-8"))) if is_page(page) else {}


def _thumbnail(row: JobRow) -> str | None:
    """The coarsest level of a result as a small picture; None where there is none that can be read."""
    if row.manifest is None or not row.manifest.has_ended:
        return None
    try:
        shown = ShownResult(row.store)
        values = shown.read_level(shown.levels - 1)
    except (
        Exception
    ):  # a damaged chunk raises whatever its codec does; the table has the state of the result
        return None
    while max(values.shape[1:]) > THUMBNAIL:
        values = halved(values)
    summary = row.manifest.final_summary
    sigma = summary.noise_before or 0.0
    if not np.isfinite(values).any():
        return None
    return jpeg(picture(shown, values, choose_stretch(shown, values, sigma)))
