"""A page of a TIFF file: uncompressed pixels are read by position, others by strip or tile."""

from __future__ import annotations

import functools
import math
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.segments import CACHE_BYTES, RowReader, SegmentCache, gather
from glassplate.pipeline.sources.source import FileSource, Format, Pixels, SourceSpec
from glassplate.pipeline.sources.tiff import pillow_page
from glassplate.pipeline.sources.tiff.as_seen import as_seen
from glassplate.pipeline.sources.tiff.directories import Place
from glassplate.pipeline.sources.tiff.layout import (
    decode_segment,
    nodata_of,
    row_layout,
    segment_bytes,
    segment_shape,
)
from glassplate.pipeline.sources.tiff.nodata import is_nodata
from glassplate.pipeline.sources.tiff.pages import find_page, open_tiff
from glassplate.pipeline.sources.tiff.tags import read_tags
from glassplate.pipeline.text import one_line
from glassplate.pipeline.tile_grid import Box


class TiffSource(FileSource):
    """One page of a TIFF file.

    Pixel values are those stored, but for palettes, pages of one bit, and pages in which white is 0; see
    `as_seen`.
    """

    format: Format = "tiff"

    def __init__(self, spec: SourceSpec, path: Path, place: Place | None = None) -> None:
        """Open the page of `spec` in the plain file `path`.

        `place` is that of its directory, where it is known: to follow the chain of thousands of directories
        takes longer than to read one.

        Raises
        ------
        SourceError
            If the file is not TIFF, or has no such page, or the page cannot be restored.
        """
        if spec.hdu is not None:
            raise UsageError(f"{spec.path}: --hdu is for FITS, this is TIFF; use --page")
        self.spec = spec
        with collected_warnings(spec.path) as complaints:
            self._tiff = open_tiff(path, spec.path)
            try:
                self.info, page = find_page(self._tiff, spec, place)
                self._use(page, path)
            # tags may be of wrong types
            except (ValueError, TypeError, LookupError, OverflowError, struct.error) as error:
                self._tiff.close()
                raise SourceError(f"{spec.path}: damaged directory: {one_line(error)}") from error
            except BaseException:
                self._tiff.close()
                raise
        self.metadata["tiff"]["warnings"] = list(complaints)

    def _use(self, page: Any, path: Path) -> None:
        self._take(self.info.shape, np.dtype(self.info.dtype))
        self._seen = as_seen(page)
        self.metadata: dict[str, Any] = {
            "tiff": {"page": self.info.index, **read_tags(page, self._seen)}
        }
        if self._seen.note:
            self.metadata["tiff"]["note"] = self._seen.note
        self._nodata = nodata_of(page)
        layout = row_layout(page)
        whole_bytes = math.prod(self.shape) * self.dtype.itemsize
        self._stored: RowReader | _Segments | _Decoded
        if pillow_page.is_for_pillow(page):
            self._stored, self.resident_bytes = _Decoded(page), whole_bytes
        elif layout is None:
            self._stored = _Segments(page, path)
            self.resident_bytes = min(whole_bytes, max(CACHE_BYTES, segment_bytes(page)))
        else:
            self._stored = RowReader(path, layout)

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box, decoding the strips or tiles that touch it.

        Raises
        ------
        SourceError
            If the file ends before the box does, or a strip or tile is damaged.
        """
        wanted = None if self._seen.palette is not None else channels
        stored = self._stored.read(box, wanted)
        valid = np.isfinite(stored) if stored.dtype.kind == "f" else np.ones(stored.shape, bool)
        if self._nodata is not None:
            valid &= ~is_nodata(stored, self._nodata)
        if self._seen.changes:
            stored = self._seen.apply(stored, 0 if channels is None else channels[0])
            valid = np.broadcast_to(valid, stored.shape).copy()
        if wanted is not channels and channels is not None:
            stored, valid = stored[slice(*channels)], valid[slice(*channels)]
        values = stored.astype(self.working_dtype)
        # the usual "no data" value, the lowest of its type, would overflow in computations with neighbours
        values[~valid if stored.dtype.kind == "f" else ~np.isfinite(values)] = 0
        return Pixels(values, valid)

    def close(self) -> None:
        """Close the file."""
        self._stored.close()
        self._tiff.close()


class _Decoded:
    """A page that is decoded as a whole, because only Pillow can."""

    def __init__(self, page: Any) -> None:
        self._pixels = pillow_page.decode(page)

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> npt.NDArray[Any]:
        """Decoded numbers, ``(c, *box.shape)``."""
        return self._pixels[(slice(*(channels or (0, 3))), *box.slices)]

    def close(self) -> None:
        """Drop the decoded page."""
        self._pixels = self._pixels[:, :0, :0]


class _Segments:
    """Reads boxes of a page of encoded strips or tiles, and caches the decoded ones."""

    def __init__(self, page: Any, path: Path) -> None:
        self._page = page
        self._path = path
        self._cache = SegmentCache()
        self._segment = segment_shape(page)
        _, _, height, width, _ = page.shaped
        self._across = -(-width // self._segment[1])
        self._per_plane = self._across * -(-height // self._segment[0])
        self._file = os.open(path, os.O_RDONLY)

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> npt.NDArray[Any]:
        """Stored numbers, ``(c, *box.shape)``."""
        planes, samples = self._page.shaped[0], self._page.shaped[4]
        if planes == 1:
            whole = gather(box, self._segment, functools.partial(self._fetch, 0))
            return whole[slice(*(channels or (0, samples)))]
        return np.concatenate(
            [
                gather(box, self._segment, functools.partial(self._fetch, plane))
                for plane in range(*(channels or (0, planes)))
            ]
        )

    def _fetch(self, plane: int, row: int, column: int) -> npt.NDArray[Any]:
        index = plane * self._per_plane + row * self._across + column
        segment = self._cache.get(index, lambda: decode_segment(self._page, self._file, index))
        return np.moveaxis(segment, 2, 0)  # (h, w, samples) -> (samples, h, w)

    def close(self) -> None:
        self._cache.clear()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
