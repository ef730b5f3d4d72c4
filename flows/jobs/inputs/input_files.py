"""The files that a path, a folder or a glob pattern of a job's inputs matches now."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from glassplate.flows.jobs.inputs.folders import files_below, unreadable_folders
from glassplate.flows.report.job_log import SUFFIX as LOG_SUFFIX
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.export.own_files import is_export
from glassplate.pipeline.pages.job_account import ACCOUNT, PAGE_NAME

STORE_SUFFIX = ".zarr"

# Suffixes of the formats that are read, apart from those of packing. A folder stands for its files of these;
# others have to be named by `include`.
IMAGE_SUFFIXES = frozenset(
    {".fits", ".fit", ".fts", ".asdf", ".xisf", ".tif", ".tiff", ".png", ".jpg", ".jpeg", ".webp"}
    | {".jp2", ".j2k", ".jpx", ".j2c", ".jxl"}
)
_PACKED = (".gz", ".bz2", ".z", ".fz")


@dataclass(frozen=True)
class Match:
    """A file that an entry of `inputs` matches."""

    path: Path
    folder: Path
    """Folders that match wildcards of the pattern; they are created again below the output folder."""
    literal: bool
    """Whether the entry is the path of this file, and not a pattern."""
    fault: str = ""
    """Why it cannot be read, if its name alone shows that, on one line."""


@dataclass(frozen=True)
class Chosen:
    """Which of the files that a folder or a pattern holds are meant."""

    include: tuple[str, ...] = ()
    """Patterns for the name of a file or for its path below the folder; empty: all images."""
    exclude: tuple[str, ...] = ()
    """Patterns of files that are not meant, and of folders with all that they hold."""


@dataclass(frozen=True)
class Matches:
    """What an entry of `inputs` matches."""

    files: list[Match] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    """Files of a folder whose suffix is that of no image."""


def find_matches(pattern: str, chosen: Chosen | None = None) -> Matches:
    """Find the files that a path, a folder or a pattern matches.

    A path that exists is taken literally, even if it has brackets. So are the leading folders of a
    pattern that exist, and the brackets of a pattern that otherwise matches nothing. A path without
    wildcards matches also where no file exists. A folder stands for the images in it and in all folders
    below it. Hidden files, whose names begin with a dot, are not matched.

    Links that lead nowhere and folders that cannot be read are matches with a fault.

    Raises
    ------
    UsageError
        If the path is a result.
    """
    chosen = chosen or Chosen()
    literal = Path(pattern)
    if literal.is_dir():
        if literal.suffix == STORE_SUFFIX:
            raise UsageError(
                f"inputs {pattern}: is a result; name the file of an image or a folder"
            )
        return _in_folder(literal, chosen)
    if os.path.lexists(literal) or not glob.has_magic(pattern):
        return Matches([Match(literal, Path(), literal=True, fault=_dangling(literal))])
    fixed, rest = _split(literal)
    for form in (rest, rest.replace("[", "[[]")):
        found = sorted(glob.glob(form, root_dir=fixed, recursive=True))
        paths = [path for path in found if is_meant(path, chosen)]
        matches = [_match(fixed, Path(path)) for path in paths if not (fixed / path).is_dir()]
        matches += [_unreadable(fixed, *one) for one in unreadable_folders(fixed, form)]
        if matches:
            return Matches(matches)
    return Matches()


def leave_out_own_files(matches: list[Match], output: Path) -> tuple[list[Match], list[Path]]:
    """Leave out the matches of a pattern that glassplate has written.

    These are all files within a result, exports in the job's output folder or beside a result, and the
    accounts, logs and pages of jobs in the output folder. A file whose path is given literally stays. If a
    pattern matches nothing but exports outside the output folder, they stay too: an earlier job made them,
    and this job continues from them.

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
        Files that are left out, but for accounts, logs and pages, which nobody would take for images.
    """
    matches = [one for one in matches if one.literal or not is_record(one.path, output)]
    beside: dict[Path, bool] = {}
    kinds = {match.path: _kind(match, output, beside) for match in matches}
    if None not in kinds.values():
        kinds = {path: None if kind == "beside" else kind for path, kind in kinds.items()}
    kept = [match for match in matches if kinds[match.path] is None]
    return kept, [match.path for match in matches if kinds[match.path] is not None]


def is_record(path: Path, output: Path) -> bool:
    """Whether a file is the account or the log of a job, or a page, in the output folder."""
    if path.name.endswith(PAGE_NAME):
        return output in path.parents
    return path.parent == output and (path.name == ACCOUNT or path.suffix == LOG_SUFFIX)


def no_such_file(patterns: list[str]) -> str:
    """Message for patterns that match no file."""
    text = f"inputs {', '.join(patterns)}: no such file"
    if any("[" in pattern for pattern in patterns):
        text += "; [ ] in a path stand for one of the characters between them, [[] for a bracket"
    return text


def _in_folder(folder: Path, chosen: Chosen) -> Matches:
    """The images in a folder and in all folders below it."""
    found = Matches()
    for path, fault in files_below(folder, lambda below: _is_excluded(below, chosen.exclude)):
        below = path.relative_to(folder)
        if fault:
            found.files.append(_unreadable(folder, below, fault))
        elif not is_meant(str(below), chosen):
            continue
        elif chosen.include or has_image_suffix(path):
            found.files.append(_match(folder, below))
        else:
            found.others.append(path)
    return found


def _match(folder: Path, below: Path) -> Match:
    path = folder / below
    # a pattern may lead upwards: night*/../x.fits
    parts = Path(os.path.normpath(below.parent)).parts
    inside = Path(*(part for part in parts if part != ".."))
    return Match(path, inside, literal=False, fault=_dangling(path))


def _unreadable(folder: Path, below: Path, why: str) -> Match:
    path = folder / below
    return Match(path, Path(), literal=False, fault=f"{path}: cannot be searched for images: {why}")


def _dangling(path: Path) -> str:
    """Fault of a link that leads nowhere; empty for all else."""
    if path.is_symlink() and not path.exists():
        return f"{path}: is a link to {os.readlink(path)}, which does not exist; mend or remove it"
    return ""


def is_meant(below: str, chosen: Chosen) -> bool:
    """Whether a file is meant, by its path below the folder or the fixed part of the pattern."""
    if _is_excluded(Path(below), chosen.exclude):
        return False
    return not chosen.include or _fits_any(Path(below), chosen.include)


def _is_excluded(below: Path, patterns: tuple[str, ...]) -> bool:
    """Whether a file, or one of the folders in which it lies, is excluded."""
    return any(_fits_any(one, patterns) for one in (below, *below.parents) if one.name)


def _fits_any(below: Path, patterns: tuple[str, ...]) -> bool:
    """Whether a name, or a path below the folder if the pattern has a slash, fits one of the patterns."""
    return any(
        fnmatchcase(str(below) if "/" in pattern else below.name, pattern.removesuffix("/"))
        for pattern in patterns
    )


def has_image_suffix(path: Path) -> bool:
    """Whether the name of a file is that of an image, packed or not."""
    name = path.name.lower()
    for packed in _PACKED:
        if name.endswith(packed):
            return packed == ".fz" or Path(name.removesuffix(packed)).suffix in IMAGE_SUFFIXES
    return Path(name).suffix in IMAGE_SUFFIXES


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
    if match.literal or match.fault:
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
