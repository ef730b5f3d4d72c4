"""What one entry of a job's inputs stands for now: the files of a path or of a pattern."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.export.export import is_export

STORE_SUFFIX = ".zarr"


@dataclass(frozen=True)
class Match:
    """A file that an entry stands for."""

    path: Path
    folder: Path
    """The folders that wildcards stood for, which are made again below the output."""
    literal: bool
    """Whether the entry names this very file, not a pattern."""


def matches_of(pattern: str) -> list[Match]:
    """Files of a path or a pattern.

    A path that exists is taken as it stands, also where it has brackets; so is every folder at the
    beginning of a pattern that exists. Brackets of a pattern that finds nothing are taken as they
    stand, too.

    Raises
    ------
    UsageError
        If it is a folder.
    """
    literal = Path(pattern)
    if literal.is_dir():
        raise UsageError(
            f"inputs {pattern}: is a folder; write {pattern.rstrip('/')}/*.fits or the like"
        )
    if literal.exists() or not glob.has_magic(pattern):
        return [Match(literal, Path(), literal=True)]
    fixed, rest = _split(literal)
    for form in (rest, rest.replace("[", "[[]")):
        found = sorted(Path(match) for match in glob.glob(form, root_dir=fixed, recursive=True))
        matches = [Match(fixed / path, path.parent, literal=False) for path in found]
        if files := [match for match in matches if match.path.is_file()]:
            return files
    return []


def without_our_own(matches: list[Match], output: Path) -> tuple[list[Match], list[Path]]:
    """Leave out of what one entry stands for the files that glassplate has made.

    What the entry names itself stays, whatever it is. Of a pattern go: all within a result, and the
    exports that lie in the job's output or beside a result. Where a pattern finds nothing but exports
    outside the output they are what is wished: another job made them, this one goes on with them.

    Parameters
    ----------
    matches
        Of one entry.
    output
        The job's output folder.

    Returns
    -------
    kept
        The others, in their order.
    left_out
        Files left out.
    """
    beside: dict[Path, bool] = {}
    kinds = {match.path: _kind(match, output, beside) for match in matches}
    if None not in kinds.values():
        kinds = {path: None if kind == "beside" else kind for path, kind in kinds.items()}
    kept = [match for match in matches if kinds[match.path] is None]
    return kept, [match.path for match in matches if kinds[match.path] is not None]


def nothing_there(patterns: list[str]) -> str:
    """What to say of entries that stand for no file."""
    text = f"inputs {', '.join(patterns)}: no such file"
    if any("[" in pattern for pattern in patterns):
        text += "; [ ] in a path stand for one of the characters between them, [[] for a bracket"
    return text


def _split(pattern: Path) -> tuple[Path, str]:
    """The folders at the beginning that are there as they are written, and the rest."""
    fixed, parts = Path(), list(pattern.parts)
    while len(parts) > 1 and (not glob.has_magic(parts[0]) or (fixed / parts[0]).exists()):
        fixed /= parts.pop(0)
    return fixed, str(Path(*parts))


def _kind(
    match: Match, output: Path, beside: dict[Path, bool]
) -> Literal["within", "output", "beside"] | None:
    """In which way glassplate has made a file; None where it has not, or the entry names it itself.

    `beside` remembers of each folder whether a result is in it.
    """
    path, folder = match.path, match.path.parent
    if match.literal:
        return None
    if any(parent.suffix == STORE_SUFFIX for parent in path.parents):
        return "within"
    if output in path.parents:
        return "output" if _is_export(path) else None
    if folder not in beside:
        beside[folder] = any(folder.glob(f"*{STORE_SUFFIX}"))
    return "beside" if beside[folder] and _is_export(path) else None


def _is_export(path: Path) -> bool:
    try:
        return is_export(path)
    except OSError:  # it cannot be read: that is said where it is to be restored
        return False
