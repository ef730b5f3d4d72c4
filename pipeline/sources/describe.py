"""What a file holds: all its images, and why some of them cannot be restored."""

from __future__ import annotations

import functools
from dataclasses import asdict
from pathlib import Path
from typing import Any

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.sources.file_format import sniff_format
from glassplate.pipeline.sources.guarded_reading import OPEN_S, answered_within, as_source_errors
from glassplate.pipeline.sources.unpack import unpacked_for_a_while


def describe(path: Path) -> dict[str, Any]:
    """What a file holds, as `glassplate inspect --json` prints it.

    Returns
    -------
    document
        ``kind``, ``path``, ``format``, ``bytes``, ``images`` (the fields of each `ImageInfo`) and
        ``warnings``; ``reason`` says why an image cannot be restored.

    Raises
    ------
    SourceError
        If the file as a whole cannot be read.
    """
    found = sniff_format(path)
    with unpacked_for_a_while(path) as plain:
        if found == "fits":
            from glassplate.pipeline.sources.fits.image import fits_images as images_of
        elif found == "tiff":
            from glassplate.pipeline.sources.tiff.pages import tiff_images as images_of
        else:
            from glassplate.pipeline.sources.raster.image import raster_images

            images_of = functools.partial(raster_images, found=found)
        try:
            with as_source_errors(path):
                images, complaints = answered_within(OPEN_S, path, lambda: images_of(plain))
        except SourceError as error:
            raise SourceError(str(error).replace(str(plain), str(path))) from error
    return {
        "kind": "source",
        "path": str(path),
        "format": found,
        "bytes": path.stat().st_size,
        "images": [asdict(image) for image in images],
        "warnings": complaints,
    }
