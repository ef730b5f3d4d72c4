"""The files that a path or a glob pattern of a job's inputs matches now."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.export.own_files import is_export

STORE_SUFFIX = ".zarr"


@dataclass(frozen=True)
class Match:
    """A file that an entry of `inputs` matches."""

    path: Path
    folder: Path
    """Folders that match wildcards of the pattern; they are created again below the output folder."""
    literal: bool
    """Whether the entry is the path of this file, and not a pattern."""


def find_matches(pattern: str) -> list[Match]:
    """Find the files that a path or a pattern matches.

    A path that exists is taken literally, even if it has brackets. So are the leading folders of a
    pattern that exist, and the brackets of a pattern that otherwise matches nothing. A path without
    wildcards matches also where no file exists.

    Raises
    ------
    UsageError
        If the path is a folder.
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


def leave_out_own_files(matches: list[Match], output: Path) -> tuple[list[Match], list[Path]]:
    """Leave out the matches of a pattern that glassplate has written.

    These are all files within a result, and exports in the job's output folder or beside a result. A
    file whose path is given literally stays. If a pattern matches nothing but exports outside the
    output folder, they stay too: an earlier job made them, and this job continues from them.

    Parameters
    ----------
    matches
        Of one entry.
    output
        The job's output folder.

    Returns
    -------
    kept
        The matches that stay, in their order.
    left_out
        Files that are left out.
    """
    beside: dict[Path, bool] = {}
    kinds = {match.path: _kind(match, output, beside) for match in matches}
    if None not in kinds.values():
        kinds = {path: None if kind == "beside" else kind for path, kind in kinds.items()}
    kept = [match for match in matches if kinds[match.path] is None]
    return kept, [match.path for match in matches if kinds[match.path] is not None]


def no_such_file(patterns: list[str]) -> str:
    """Message for patterns that match no file."""
    text = f"inputs {', '.join(patterns)}: no such file"
    if any("[" in pattern for pattern in patterns):
        text += "; [ ] in a path stand for one of the characters between them, [[] for a bracket"
    return text


def _split(pattern: Path) -> tuple[Path, str]:
    """Split a pattern into its leading folders that exist literally, and the rest."""
    fixed, parts = Path(), list(pattern.parts)
    while len(parts) > 1 and (not glob.has_magic(parts[0]) or (fixed / parts[0]).exists()):
        fixed /= parts.pop(0)
    return fixed, str(Path(*parts))


def _kind(
    match: Match, output: Path, beside: dict[Path, bool]
) -> Literal["within", "output", "beside"] | None:
    """Where a file that glassplate has written lies; None for other files and for literal paths.

    `beside` caches for each folder whether it holds a result.
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
    except OSError:  # the restoration of this file reports that it cannot be read
        return False
