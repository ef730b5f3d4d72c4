"""Names of results as patterns: ``{OBJECT}/{stem}-{FILTER}``, filled from a file's name and header.

A name never leads out of the output folder, whatever the image or its header is called.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from glassplate.pipeline.errors import UsageError

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_KEYWORD = re.compile(r"[A-Z0-9_-]+")
_WORDS = ("stem", "folder")
# What a value may not bring into a name: separators of folders, wildcards and what shells and other systems
# treat in a way of their own.
_UNFIT = re.compile(r"[\x00-\x1f\x7f/\\:*?\"<>|\[\]{}\s]+")
# File systems allow 255 bytes, of which suffixes such as .step1.zarr and those of temporary names take some.
MOST_BYTES = 180


def check_name_pattern(pattern: str) -> None:
    """Refuse a pattern that has an unknown placeholder or leads out of the output folder.

    Raises
    ------
    ValueError
        With the reason.
    """
    parts = PurePosixPath(pattern).parts
    if not pattern.strip("/ ") or pattern.endswith("/") or ".." in parts or pattern[0] in "/~":
        raise ValueError(
            f"result {pattern!r}: is no name inside the output folder; write it like "
            "{OBJECT}/{stem}"
        )
    for word in _PLACEHOLDER.findall(pattern):
        if word not in _WORDS and not _KEYWORD.fullmatch(word):
            raise ValueError(
                f"result {pattern!r}: {{{word}}} is unknown; known are {{stem}}, {{folder}} and "
                "keywords of the header in capitals"
            )


def keywords_of(pattern: str) -> set[str]:
    """Keywords of the header that a pattern needs."""
    return {word for word in _PLACEHOLDER.findall(pattern) if word not in _WORDS}


def name_from(pattern: str, image: Path, stem: str, header: Mapping[str, object]) -> str:
    """Fill a pattern for one image.

    Parameters
    ----------
    pattern
        As `check_name_pattern` allows it.
    image
        Path of the image.
    stem
        Name of its file without suffixes.
    header
        Values of the keywords of the pattern; a keyword that the image lacks is missing here.

    Returns
    -------
    name
        Relative path below the output folder, without suffix. Slashes are those of the pattern alone.

    Raises
    ------
    UsageError
        If the image lacks a keyword, or a part of the name would be empty.
    """
    words: dict[str, object] = {"stem": stem, "folder": image.parent.name, **header}

    def value(found: re.Match[str]) -> str:
        if found[1] not in words:
            raise UsageError(
                f"{image}: has no keyword {found[1]}, of which its name is made ({pattern}); "
                "give it a name of its own in the job"
            )
        return fit_for_a_name(str(words[found[1]]))

    parts = [_PLACEHOLDER.sub(value, part).lstrip(".") for part in PurePosixPath(pattern).parts]
    if not all(part.strip("_-. ") for part in parts):
        raise UsageError(
            f"{image}: its name by {pattern} would have an empty part; give it a name of its own in the job"
        )
    return "/".join(_short(part) for part in parts)


def fit_for_a_name(text: str) -> str:
    """The text with each run of characters that do not suit the name of a file as one underscore."""
    return _UNFIT.sub("_", text.strip())


def _short(part: str) -> str:
    data = part.encode("utf-8", "surrogateescape")[:MOST_BYTES]
    return data.decode("utf-8", "ignore")
