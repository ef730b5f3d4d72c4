"""What a file holds: all its images, and why some of them cannot be restored."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.sources.guarded_reading import OPEN_S, answered_within, as_source_errors
from glassplate.pipeline.sources.readers import find_reader
from glassplate.pipeline.sources.source import split_extension
from glassplate.pipeline.sources.unpack import unpacked_for_a_while


def describe(path: Path) -> dict[str, Any]:
    """What a file holds, as `glassplate inspect --json` prints it.

    Parameters
    ----------
    path
        A file, or one of its images: ``file.fits[SCI,2]`` or ``file.tif[3]``.

    Returns
    -------
    document
        ``kind``, ``path``, ``format``, ``bytes``, ``images`` (the fields of each `ImageInfo`) and
        ``warnings``; ``reason`` says why an image cannot be restored.

    Raises
    ------
    SourceError
        If the file as a whole cannot be read, or has no such image.
    """
    path, part = split_extension(path)
    reader = find_reader(path)
    with unpacked_for_a_while(path) as plain:
        try:
            with as_source_errors(path):
                images, complaints = answered_within(OPEN_S, path, lambda: reader.images(plain))
        except SourceError as error:
            raise SourceError(str(error).replace(str(plain), str(path))) from error
    if part is not None:
        images = [image for image in images if image.index == _index(path, reader.name, part)]
        if not images:
            raise SourceError(f"{path}: has no image {part}; glassplate inspect {path} lists them")
    return {
        "kind": "source",
        "path": str(path),
        "format": reader.name,
        "bytes": path.stat().st_size,
        "images": [asdict(image) for image in images],
        "warnings": complaints,
    }


def _index(path: Path, found: str, part: int | str) -> int:
    """Number of an image that is named in brackets; -1 without such an image."""
    if isinstance(part, int) or found != "fits":
        return part if isinstance(part, int) else -1
    from glassplate.pipeline.sources.fits.extensions import hdu_index

    return hdu_index(path, part)
