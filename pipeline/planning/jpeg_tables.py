"""How the JPEG that an image is, or was, rounded: from its own tables, or from the quality that is named."""

from __future__ import annotations

import struct
from pathlib import Path

from glassplate.models.operators.jpeg import BLOCK, Quantisation, standard_quantisation
from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.recipe import Recipe
from glassplate.pipeline.sources.jpeg_file import JPEG_FRAMES, jpeg_segments
from glassplate.pipeline.sources.source import Source
from glassplate.pipeline.sources.unpack import unpacked

# Where each of a table's 64 steps stands in the file: zigzag, T.81 figure A.6.
ZIGZAG = sorted(
    range(BLOCK**2),
    key=lambda at: (
        at // BLOCK + at % BLOCK,
        at // BLOCK if (at // BLOCK + at % BLOCK) % 2 else at % BLOCK,
    ),
)
# Pixels for each sample of Cb and Cr, (y, x), by the names that programs give them.
SAMPLING = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:4:0": (2, 1), "4:2:0": (2, 2)}

_TABLES, _SCAN, _ADOBE = 0xDB, 0xDA, 0xEE


def quantisation_of(source: Source, recipe: Recipe) -> Quantisation:
    """What the recipe says of the JPEG that the image was; else what the file says of itself.

    Raises
    ------
    UsageError
        If neither is known, or the image is not of 8 bits in grey or red, green and blue.
    SourceError
        If the JPEG stores colours or samples them in a way that is not read.
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
    """Steps of each component and sampling of colour, from the segments before the first scan.

    Raises
    ------
    SourceError
        If the file is damaged, of more than 8 bits, not in grey or Y'CbCr, or samples its colours at
        other than one or two pixels.
    """
    raw = unpacked(path).read_bytes()
    try:
        return _quantisation(raw)
    except (struct.error, IndexError, KeyError, ValueError) as error:
        raise SourceError(f"{path}: JPEG for deartifact: {error}") from error


def _quantisation(raw: bytes) -> Quantisation:
    tables: dict[int, tuple[int, ...]] = {}
    frame = adobe = None
    for marker, data in jpeg_segments(raw):
        if marker == _TABLES:
            tables |= _tables(data)
        elif marker == _ADOBE and data.startswith(b"Adobe"):
            adobe = data[11]  # 0: RGB, 1: Y'CbCr
        elif marker in JPEG_FRAMES:
            frame = data
        elif marker == _SCAN:
            break
    if frame is None:
        raise ValueError("no frame header")
    bits, count = frame[0], frame[5]
    if bits != 8:
        raise ValueError(f"{bits} bits a sample, must be 8")
    # for each component its name, its samples along x and y in 4 bits each, its table
    components = [frame[6 + 3 * n : 9 + 3 * n] for n in range(count)]
    if count not in (1, 3) or (
        count == 3 and (adobe == 0 or bytes(c[0] for c in components) == b"RGB")
    ):
        raise ValueError(f"{count} components, must be grey or Y'CbCr")
    missing = [c[2] for c in components if c[2] not in tables]
    if missing:
        raise ValueError(f"quantisation table {missing[0]} is missing")
    steps = tuple(tables[c[2]] for c in components)
    return Quantisation(steps, _sampling([(c[1] & 15, c[1] >> 4) for c in components]))


def _tables(data: bytes) -> dict[int, tuple[int, ...]]:
    """Tables of one segment by their number, row by row."""
    found, at = {}, 0
    while at < len(data):
        wide, number = data[at] >> 4, data[at] & 15
        size = BLOCK**2 * (1 + wide)
        steps = struct.unpack(f">{BLOCK**2}{'H' if wide else 'B'}", data[at + 1 : at + 1 + size])
        by_place = dict(zip(ZIGZAG, steps, strict=True))
        found[number] = tuple(by_place[place] for place in range(BLOCK**2))
        at += 1 + size
    return found


def _sampling(factors: list[tuple[int, int]]) -> tuple[int, int]:
    """Pixels for each sample of Cb and Cr, from the samples (y, x) that components have in a unit."""
    if len(factors) == 1:
        return 1, 1
    luma, blue, red = factors
    if blue != red or any(a % b or a // b not in (1, 2) for a, b in zip(luma, blue, strict=True)):
        raise ValueError(f"colours are sampled as {factors}, must be 4:4:4, 4:2:2, 4:4:0 or 4:2:0")
    return luma[0] // blue[0], luma[1] // blue[1]
