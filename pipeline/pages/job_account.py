"""What the account of a job and its page have in common: the file, how it is read, the states of an image."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from glassplate.pipeline.errors import UsageError

ACCOUNT = "job.jsonl"
"""Name of the account, in the folder of the results."""

PAGE_NAME = "report.html"
"""Name of the page of a job in that folder; names of the pages of its results end with it."""

State: TypeAlias = Literal["done", "skipped", "quarantined", "pending"]
STATES: tuple[State, ...] = ("done", "skipped", "quarantined", "pending")
"""What became of an image in the last run: each input has exactly one of these."""


class Named(Protocol):
    """A line of the account."""

    @property
    def name(self) -> str:
        """The result, as a path below the folder."""
        ...


Line = TypeVar("Line", bound=Named)


def read_account(path: Path, parse: Callable[[Any], Line]) -> dict[str, Line]:
    """Read the last line of each result; empty if there is no account.

    A line that is damaged, or cut off by a kill, says nothing.

    Parameters
    ----------
    path
        The account.
    parse
        Makes a line of a JSON document. It raises LookupError, TypeError, ValueError or AttributeError for a
        document that is no line.

    Raises
    ------
    UsageError
        If the file cannot be read.
    """
    lines: dict[str, Line] = {}
    try:
        texts = path.read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return lines
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    for text in texts:
        try:
            line = parse(json.loads(text))
        except (ValueError, LookupError, TypeError, AttributeError):
            continue
        lines[line.name] = line
    return lines
