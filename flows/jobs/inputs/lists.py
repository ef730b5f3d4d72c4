"""Lists of images: a text file with a path on each line, or a CSV file with the settings of each image."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.text import one_line

# Columns whose values may be numbers or names.
_NUMBERS_OR_NAMES = frozenset({"hdu", "page"})


def rows_of(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The images that a list names: for each the number of its line, and its settings.

    A file that ends in ``.csv`` has a row of names of columns: ``path`` and keys of an input. A column with
    a dot is a value of the recipe. An empty cell gives nothing. Any other file has one path on each line;
    empty lines and those that begin with ``#`` are passed over.

    Raises
    ------
    UsageError
        If the list cannot be read, or has no column ``path``.
    """
    try:
        # names of files are bytes, which need not be UTF-8
        text = path.read_text("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise UsageError(f"list {path}: {error.strerror or one_line(error)}") from error
    if path.suffix.lower() == ".csv":
        return list(_csv_rows(path, text))
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
    return [(number, {"path": line}) for number, line in lines if line and line[0] != "#"]


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    if "path" not in (reader.fieldnames or ()):
        raise UsageError(f"list {path}: the first line has no column path, but {reader.fieldnames}")
    try:
        for row in reader:
            if None in row:
                raise UsageError(
                    f"list {path}, line {reader.line_num}: has more cells than the first line"
                )
            yield reader.line_num, _settings(row)
    except csv.Error as error:
        raise UsageError(f"list {path}, line {reader.line_num}: {one_line(error)}") from error


def _settings(row: dict[str, str | None]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    overrides: list[str] = []
    for name, cell in row.items():
        value = (cell or "").strip()
        if not value:
            continue
        if "." in name:
            overrides.append(f"{name}={value}")
        elif name in _NUMBERS_OR_NAMES and value.isdigit():
            settings[name] = int(value)
        else:
            settings[name] = value
    if overrides:
        settings["set"] = overrides
    return settings
