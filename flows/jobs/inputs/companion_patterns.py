"""Patterns in a job for the files that go with each of its images: ``mask: "{stem}[DQ]"``."""

from __future__ import annotations

import re
from pathlib import Path

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.sources.source import split_extension

PLACEHOLDERS = ("dir", "name", "stem")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def is_pattern(named: Path) -> bool:
    """Whether a path has placeholders, and names another file for each image."""
    return _PLACEHOLDER.search(str(named)) is not None


def is_beside_the_image(named: Path) -> bool:
    """Whether a pattern has no folder or that of the image, and no other folder comes before it."""
    return is_pattern(named) and (named.parent == Path() or named.parts[0] == "{dir}")


def check_pattern(key: str, named: Path) -> None:
    """Refuse a placeholder that does not exist.

    Raises
    ------
    UsageError
        If a path that is no existing file has an unknown word in braces.
    """
    for word in _PLACEHOLDER.findall(str(named)):
        if word not in PLACEHOLDERS and not named.exists():
            known = ", ".join(f"{{{one}}}" for one in PLACEHOLDERS)
            raise UsageError(f"{key} {named}: {{{word}}} is unknown; known are {known}")


def file_for(named: Path, image: Path, stem: str) -> Path:
    """The file that a path names for one image; the path itself if it has no placeholders.

    Parameters
    ----------
    named
        A path, with or without an extension in brackets. ``{dir}`` stands for the folder of the image,
        ``{name}`` for its file name, ``{stem}`` for that without its suffixes. A name of which there is no
        file gets the suffixes of the image if that is one.
    image
        Path of the image.
    stem
        What ``{stem}`` stands for.
    """
    if not is_pattern(named):
        return named
    words = {"dir": str(image.parent), "name": image.name, "stem": stem}
    text = _PLACEHOLDER.sub(lambda found: words.get(found[1], found[0]), str(named))
    path = image.parent / text if is_beside_the_image(named) else Path(text)
    file, extension = split_extension(path)
    suffix = image.name.removeprefix(stem)
    if not file.exists() and file.with_name(file.name + suffix).exists():
        file = file.with_name(file.name + suffix)
    return file if extension is None else file.with_name(f"{file.name}[{extension}]")
