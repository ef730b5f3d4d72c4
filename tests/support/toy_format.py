"""A file format that no package reads, and its reader, as another package would write it.

A file is the line ``TOY height width`` and the pixels, float32, big-endian.
"""

from pathlib import Path

import numpy as np

from glassplate.pipeline.sources.array_source import ArraySource
from glassplate.pipeline.sources.source import ImageInfo, Source, SourceSpec


class ToyReader:
    """Reads the toy format."""

    name, like = "toy", "fits"

    def reads(self, start: bytes) -> bool:
        return start.startswith(b"TOY ")

    def images(self, path: Path) -> tuple[list[ImageInfo], list[str]]:
        return [_info(_pixels(path))], ["the toy format is for tests"]

    def open(self, spec: SourceSpec, path: Path) -> Source:
        pixels = _pixels(path)
        metadata = {"toy": {"made": "here"}}
        return ArraySource(spec, _info(pixels), pixels, like="fits", metadata=metadata)


def _pixels(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        line = file.readline()
    _, height, width = line.split()
    return np.memmap(path, ">f4", "r", len(line), (int(height), int(width)))


def _info(pixels: np.ndarray) -> ImageInfo:
    return ImageInfo(0, "toy", pixels.shape, "float32", "adu", restorable=True, reason=None)


def write_toy(path: Path, pixels: np.ndarray) -> None:
    height, width = pixels.shape
    path.write_bytes(f"TOY {height} {width}\n".encode() + pixels.astype(">f4").tobytes())


READER = ToyReader()
