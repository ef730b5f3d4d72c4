"""Boxes out of files: rows of uncompressed pixels, and segments that are decoded whole and kept."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.grid import Box

# Decoded strips and tiles that one source keeps. It holds one row of 320-pixel windows across a
# 16-bit RGB scan 65000 pixels wide, so that no strip is decoded twice while a row is restored.
CACHE_BYTES = 128 << 20

# A strip, a PNG or a JPEG decodes as a whole; beyond this, each worker process would hold more than
# a run is meant to need (2 GiB at any image size).
SEGMENT_LIMIT_BYTES = 2 << 30


class SegmentCache:
    """Decoded segments, least recently used dropped first, bounded in bytes.

    A segment larger than the bound is kept alone: a file of one strip is decoded once.
    """

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self._held: OrderedDict[Hashable, npt.NDArray[Any]] = OrderedDict()

    def get(self, key: Hashable, decode: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """The segment of this key, decoded only where it is not held."""
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        segment = decode()
        self.held_bytes += segment.nbytes
        while self._held and self.held_bytes > self.limit_bytes:
            self.held_bytes -= self._held.popitem(last=False)[1].nbytes
        self._held[key] = segment
        return segment

    def clear(self) -> None:
        """Drop everything."""
        self._held.clear()
        self.held_bytes = 0


def gather(
    box: Box,
    segment_shape: tuple[int, int],
    fetch: Callable[[int, int], npt.NDArray[Any]],
) -> npt.NDArray[Any]:
    """Assemble a box from the segments of a regular grid that touch it.

    Parameters
    ----------
    box
        Region to assemble, inside the image.
    segment_shape
        Height and width of a segment; segments at the far edges may be smaller or larger.
    fetch
        Gives segment ``(row, column)`` of the grid as ``(c, h, w)``.

    Returns
    -------
    pixels
        ``(c, *box.shape)``, a new array.
    """
    high, wide = segment_shape
    out: npt.NDArray[Any] | None = None
    for row in range(box.y0 // high, (box.y1 - 1) // high + 1):
        for column in range(box.x0 // wide, (box.x1 - 1) // wide + 1):
            segment = fetch(row, column)  # (c, h, w)
            y0, y1 = max(box.y0, row * high), min(box.y1, (row + 1) * high)
            x0, x1 = max(box.x0, column * wide), min(box.x1, (column + 1) * wide)
            part = segment[
                :, y0 - row * high : y1 - row * high, x0 - column * wide : x1 - column * wide
            ]
            if out is None:
                out = np.empty((segment.shape[0], *box.shape), segment.dtype)
            out[:, y0 - box.y0 : y1 - box.y0, x0 - box.x0 : x1 - box.x0] = part
    if out is None:
        raise ValueError(f"{box} touches no segment")  # a Box is never empty
    return out


@dataclass(frozen=True)
class RowLayout:
    """Where uncompressed pixels lie in a file: planes of rows of pixels of samples, without gaps."""

    offset: int
    """Byte of the first sample."""
    planes: int
    height: int
    width: int
    samples: int
    """Samples stored together for each pixel."""
    dtype: np.dtype[Any]
    """Type of a sample, with the byte order of the file."""

    @property
    def end(self) -> int:
        """First byte after the pixels."""
        pixels = self.planes * self.height * self.width
        return self.offset + pixels * self.samples * self.dtype.itemsize


class RowReader:
    """Reads boxes of uncompressed pixels with positioned reads.

    Not a memory map: mapped pages count as the process's memory, and reading a large image tile by
    tile would seem to hold all of it.
    """

    def __init__(self, path: Path, layout: RowLayout) -> None:
        self.layout = layout
        self.path = path
        self._file = os.open(path, os.O_RDONLY)

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> npt.NDArray[Any]:
        """Pixels ``(c, *box.shape)`` in the machine's byte order; c counts planes times samples.

        Raises
        ------
        SourceError
            If the file ends before the box does.
        """
        layout = self.layout
        height, width = box.shape
        wanted = channels or (0, layout.planes * layout.samples)
        planes = range(wanted[0] // layout.samples, (wanted[1] - 1) // layout.samples + 1)
        out = np.empty((len(planes), height, width, layout.samples), layout.dtype)
        raw = out.reshape(-1).view(np.uint8).data
        pixel_bytes = layout.samples * layout.dtype.itemsize
        # rows that span the image lie one after the other
        rows, length = (1, height * width) if width == layout.width else (height, width)
        length *= pixel_bytes
        for place, plane in enumerate(planes):
            first = (plane * layout.height + box.y0) * layout.width + box.x0
            start = layout.offset + first * pixel_bytes
            for row in range(rows):
                at = (place * rows + row) * length
                self._fill(raw[at : at + length], start + row * layout.width * pixel_bytes)
        native = out.astype(layout.dtype.newbyteorder("="), copy=False)  # (planes, h, w, samples)
        moved = np.moveaxis(native, 3, 1)  # (planes, samples, h, w)
        first = wanted[0] - planes[0] * layout.samples
        return moved.reshape(-1, height, width)[first : first + wanted[1] - wanted[0]]

    def _fill(self, raw: memoryview, start: int) -> None:
        done = os.preadv(self._file, [raw], start)
        while done < len(raw):
            count = os.preadv(self._file, [raw[done:]], start + done)
            if count == 0:
                raise SourceError(
                    f"{self.path}: truncated: ends at byte {start + done}, "
                    f"pixels go on to byte {self.layout.end}"
                )
            done += count

    def close(self) -> None:
        """Close the file; closing twice does no harm."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
