"""The sheet of a trial as a page: each window under a viewer that zooms to single pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path

from glassplate.pipeline.pages.drawing import png
from glassplate.pipeline.pages.html import write_page
from glassplate.pipeline.pages.trial.sheet import Column, Row


@dataclass(frozen=True)
class Way:
    """A window as one recipe restored it, as data URIs."""

    number: int
    """Among all of the page."""
    name: str
    """With that of the window."""
    caption: str
    width: int
    height: int
    after: str
    removed: str | None
    """Beside the full strength only."""


@dataclass(frozen=True)
class PageRow:
    """One window."""

    name: str
    given: str
    """The input, as a data URI."""
    ways: tuple[Way, ...]


def write_trial_page(
    target: Path, title: str, columns: Sequence[Column], rows: Sequence[Row], notes: Sequence[str]
) -> None:
    """Write one HTML file that opens without a network.

    Parameters
    ----------
    target
        The page.
    title
        Name of the image.
    columns, rows
        As `draw_sheet` takes them; the first column is the input.
    notes
        One line each.
    """
    numbers = count()
    shown = [
        PageRow(row.name, png(given), tuple(_ways(row, columns, numbers)))
        for row in rows
        if (given := row.pictures[0]) is not None
    ]
    write_page(
        target,
        "trial.html",
        title=title,
        subtitle="a trial of recipes on a few windows, with short fits",
        notes=notes,
        rows=shown,
        first=_first_shown(shown),
    )


def _first_shown(rows: Sequence[PageRow]) -> int:
    """Number of the picture that the viewer shows at first: the proposed recipe at its full strength."""
    numbers = (way.number for row in rows for way in row.ways if way.removed is not None)
    return next(numbers, 0)


def _ways(row: Row, columns: Sequence[Column], numbers: Iterator[int]) -> Iterator[Way]:
    cells = list(zip(columns, row.pictures, strict=True))
    for (column, after), (following, removed) in pairwise(cells):
        if column.shows != "restored" or after is None:
            continue
        yield Way(
            number=next(numbers),
            name=f"{row.name.partition(':')[0]}, {column.caption}",
            caption=column.caption,
            width=after.shape[1],
            height=after.shape[0],
            after=png(after),
            removed=None if following.shows != "removed" or removed is None else png(removed),
        )
