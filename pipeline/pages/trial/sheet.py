"""The sheet of a trial as PNG: a row for each window, a column for each way to restore it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from glassplate.pipeline.export.preview import CAPTION, GAP, LETTERS
from glassplate.pipeline.pages.drawing import Picture
from glassplate.pipeline.sources.sample_windows import WINDOW

# Pixels of the sheet for each pixel of the image, along an axis: grain is seen, and six columns fit on a
# screen.
ENLARGED = 2
CELL = WINDOW * ENLARGED


@dataclass(frozen=True)
class Column:
    """What the pictures of a column show."""

    caption: str
    shows: Literal["input", "restored", "removed"]


@dataclass(frozen=True)
class Row:
    """One window."""

    name: str
    pictures: Sequence[Picture | None]
    """One for each column; None leaves it empty. At least one is there, and all have one size."""


def draw_sheet(columns: Sequence[Column], rows: Sequence[Row], notes: Sequence[str]) -> Image.Image:
    """Draw the pictures of a trial with their captions, and notes of one line each below them."""
    heights = [
        ENLARGED * max(len(picture) for picture in row.pictures if picture is not None)
        for row in rows
    ]
    size = (
        len(columns) * (CELL + GAP) - GAP,
        sum(heights) + CAPTION * (1 + len(rows) + len(notes)),
    )
    canvas = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(LETTERS)
    lefts = [number * (CELL + GAP) for number in range(len(columns))]
    for left, column in zip(lefts, columns, strict=True):
        pen.text((left + 2, 3), column.caption, fill="black", font=font)
    top = CAPTION
    for row, height in zip(rows, heights, strict=True):
        pen.text((2, top + 3), row.name, fill="black", font=font)
        top += CAPTION
        for left, picture in zip(lefts, row.pictures, strict=True):
            if picture is not None:
                canvas.paste(_enlarged(picture), (left, top))
        top += height
    for note in notes:
        pen.text((2, top + 3), note, fill="black", font=font)
        top += CAPTION
    return canvas


def _enlarged(picture: Picture) -> Image.Image:
    fine = picture.repeat(ENLARGED, 0).repeat(ENLARGED, 1)
    return Image.fromarray(np.ascontiguousarray(fine)).convert("RGB")
