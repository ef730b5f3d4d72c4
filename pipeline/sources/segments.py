"""Reading boxes of pixels: from uncompressed rows, or from segments that are decoded and cached."""

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
from glassplate.pipeline.tile_grid import Box

# Bytes of decoded strips and tiles that one source keeps: enough for a row of 320-pixel windows across a
# 16-bit RGB scan 65000 pixels wide, so that no strip is decoded twice while a row of tiles is restored.
CACHE_BYTES = 128 << 20

# Largest strip, PNG or JPEG, each of which is decoded as a whole; with a larger one, a worker process would
# hold more than a run should need (2 GiB at any image size).
SEGMENT_LIMIT_BYTES = 2 << 30


class SegmentCache:
    """A cache of decoded segments, bounded in bytes; the least recently used segment is dropped first.

    A segment larger than the bound is kept alone, so that a file of one strip is decoded once.
    """

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self._held: OrderedDict[Hashable, npt.NDArray[Any]] = OrderedDict()

    def get(self, key: Hashable, decode: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """The segment of a key, decoded unless it is cached."""
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
        """Drop all segments."""
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
        Height and width of a segment; the last ones of a row or column may be smaller or larger.
    fetch
        Returns segment ``(row, column)`` of the grid as ``(c, h, w)``.

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
    """Where uncompressed pixels lie in a file: by plane, row, pixel and sample, without gaps."""

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

    A memory map is not used: mapped pages count as memory of the process, which would seem to hold all of a
    large image that is read tile by tile.
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
        # rows across the whole image are contiguous in the file
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
        """Close the file; it may be closed twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
