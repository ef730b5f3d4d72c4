"""Searching folders for files, such that a folder that cannot be read is named and not passed over."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

# Results are folders, and hold nothing that is an input.
_RESULT = ".zarr"


def files_below(folder: Path, is_excluded: Callable[[Path], bool]) -> Iterator[tuple[Path, str]]:
    """Yield the files in a folder and in all folders below it, sorted, each with a fault or without.

    Links to folders are followed, but no folder is searched twice. Hidden files and folders, and results,
    are passed over.

    Parameters
    ----------
    folder
        It exists.
    is_excluded
        Whether a folder is not searched, by its path below `folder`.

    Yields
    ------
    path
        A file, or whatever else is no folder; or a folder that cannot be read.
    fault
        Why the folder cannot be read; empty for a file.
    """
    yield from _files(folder, Path(), is_excluded, set())


def _files(
    folder: Path, below: Path, is_excluded: Callable[[Path], bool], searched: set[str]
) -> Iterator[tuple[Path, str]]:
    real = os.path.realpath(folder)
    if real in searched:
        return
    searched.add(real)
    try:
        with os.scandir(folder) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
    except OSError as error:
        yield folder, (error.strerror or type(error).__name__).lower()
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if not _is_folder(entry):
            yield folder / entry.name, ""
        elif not entry.name.endswith(_RESULT) and not is_excluded(below / entry.name):
            yield from _files(folder / entry.name, below / entry.name, is_excluded, searched)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def unreadable_folders(fixed: Path, pattern: str) -> list[tuple[Path, str]]:
    """Folders in which a pattern would have to be searched for, and that cannot be read.

    `glob` passes over them without a word.

    Parameters
    ----------
    fixed
        Folder in which the pattern begins.
    pattern
        Relative to it.

    Returns
    -------
    folders
        The path of each below `fixed`, and why it cannot be read.
    """
    found: list[tuple[Path, str]] = []
    levels = Path(pattern).parts[:-1]

    def search(folder: Path, depth: int) -> None:
        try:
            with os.scandir(fixed / folder) as scanned:
                inner = sorted(e.name for e in scanned if _is_searched(e, levels, depth))
        except FileNotFoundError:
            return
        except OSError as error:
            found.append((folder, (error.strerror or type(error).__name__).lower()))
            return
        for name in inner:
            search(folder / name, depth + 1)

    if levels or glob.has_magic(pattern):
        search(Path(), 0)
    return found


def _is_searched(entry: os.DirEntry[str], levels: tuple[str, ...], depth: int) -> bool:
    """Whether a pattern is searched for in a folder, by the parts of the pattern that are folders."""
    if entry.name.startswith(".") or entry.name.endswith(_RESULT) or not _is_folder(entry):
        return False
    if "**" in levels[: depth + 1]:
        return not entry.is_symlink()
    return depth < len(levels) and fnmatchcase(entry.name, levels[depth])
