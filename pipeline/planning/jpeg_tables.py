"""The quantisation of the JPEG that an image is or was: its own tables, or those of the given quality."""

from __future__ import annotations

import io
import struct
from pathlib import Path

from PIL.JpegImagePlugin import JpegImageFile

from glassplate.models.operators.quantisation import Quantisation, standard_quantisation
from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.recipes.recipe import Recipe
from glassplate.pipeline.sources.raster.jpeg import read_jpeg_header
from glassplate.pipeline.sources.source import Source
from glassplate.pipeline.sources.unpack import unpacked

# Pixels per sample of Cb and Cr, (y, x), by the usual names of the sampling.
SAMPLING = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:4:0": (2, 1), "4:2:0": (2, 2)}


def quantisation_of(source: Source, recipe: Recipe) -> Quantisation:
    """The quantisation that the recipe gives, else that of the image's own file.

    Raises
    ------
    UsageError
        If neither is known, or the image is not of 8 bits in grey or red, green and blue.
    SourceError
        If the JPEG stores or samples its colours in an unsupported way.
    """
    path, channels = source.spec.path, source.shape[0]
    if source.dtype != "uint8" or channels not in (1, 3):
        raise UsageError(
            f"{path}: {channels} x {source.dtype.name}: a JPEG has 8 bits in grey or RGB; convert it to "
            "that, or take another task than deartifact"
        )
    operator = recipe.operator
    if operator.jpeg_quality is not None:
        return standard_quantisation(
            operator.jpeg_quality, channels, SAMPLING[operator.jpeg_sampling]
        )
    if source.format != "jpeg":
        raise UsageError(
            f"{path}: is {source.format.upper()}, and does not say how a JPEG rounded it; add "
            "--set operator.jpeg_quality=N, the quality that it was saved with, or start from the JPEG"
        )
    return read_quantisation(path)


def read_quantisation(path: Path) -> Quantisation:
    """Quantisation steps and sampling of each component of a JPEG.

    Raises
    ------
    SourceError
        If the file is damaged, of more than 8 bits, not in grey or Y'CbCr, or samples its colours at
        other than one or two pixels.
    """
    raw = unpacked(path).read_bytes()
    try:
        return _quantisation(raw)
    # Pillow raises SyntaxError and OSError on damaged segments
    except (struct.error, LookupError, ValueError, SyntaxError, OSError) as error:
        raise SourceError(f"{path}: JPEG for deartifact: {error}") from error


def _quantisation(raw: bytes) -> Quantisation:
    header = read_jpeg_header(raw)
    if header.bits != 8:
        raise ValueError(f"{header.bits} bits a sample, must be 8")
    if header.channels not in (1, 3):
        raise ValueError(f"{header.channels} components, must be grey or Y'CbCr")
    with JpegImageFile(io.BytesIO(raw)) as image:
        tables, components = image.quantization, image.layer  # (name, across, down, table) each
    names = bytes(name for name, *_ in components)
    # Adobe's transform 0 is RGB
    if header.channels == 3 and (header.adobe == 0 or names == b"RGB"):
        raise ValueError("3 components, must be grey or Y'CbCr")
    missing = [table for *_, table in components if table not in tables]
    if missing:
        raise ValueError(f"quantisation table {missing[0]} is missing")
    steps = tuple(tuple(tables[table]) for *_, table in components)
    return Quantisation(steps, _sampling([(down, across) for _, across, down, _ in components]))


def _sampling(factors: list[tuple[int, int]]) -> tuple[int, int]:
    """Pixels for each sample of Cb and Cr, from the samples (y, x) that components have in a unit."""
    if len(factors) == 1:
        return 1, 1
    luma, blue, red = factors
    if blue != red or any(a % b or a // b not in (1, 2) for a, b in zip(luma, blue, strict=True)):
        raise ValueError(f"colours are sampled as {factors}, must be 4:4:4, 4:2:2, 4:4:0 or 4:2:0")
    return luma[0] // blue[0], luma[1] // blue[1]
