"""An image of a FITS file: uncompressed ones are read by position, tile-compressed ones by astropy."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.fits.constant import ConstantPlane, constant_plane
from glassplate.pipeline.sources.fits.file import FitsFile
from glassplate.pipeline.sources.fits.hdus import (
    Scaling,
    find_hdu,
    hdu_info,
    header_text,
    pixel_dtype,
    row_layout,
)
from glassplate.pipeline.sources.fits.text import is_sound, printable
from glassplate.pipeline.sources.segments import CACHE_BYTES, RowReader, SegmentCache, gather
from glassplate.pipeline.sources.source import FileSource, Format, ImageInfo, Pixels, SourceSpec
from glassplate.pipeline.text import one_line
from glassplate.pipeline.tile_grid import Box

# Compressed tiles usually are single rows. A cell of this size, in pixels, holds so many of them that the
# overhead does not matter, and so few that a window reads little more than itself.
_CELL = (64, 512)


class FitsSource(FileSource):
    """One image of a FITS file."""

    format: Format = "fits"

    def __init__(self, spec: SourceSpec, path: Path) -> None:
        """Open the image of `spec` in the plain file `path`.

        Raises
        ------
        SourceError
            If the file is not FITS, or has no such image, or the image cannot be restored.
        """
        if spec.page is not None:
            raise UsageError(f"{spec.path}: --page is for TIFF, this is FITS; use --hdu")
        self.spec = spec
        with collected_warnings(spec.path) as complaints:
            self._file = FitsFile(path, spec.path)
            try:
                self._find()
            except BaseException:
                self._file.close()
                raise
        self.metadata["fits"]["warnings"] = list(complaints)

    def _find(self) -> None:
        self.info = find_hdu(self._file, self.spec.hdu, self.spec.path)
        index = self.info.index
        hdu = self._file[index]
        constant = constant_plane(hdu.header)
        self._take(self.info.shape, pixel_dtype(hdu.header))
        # PIXVALUE is a value, not a stored number
        self._scaling = (
            Scaling.of(hdu.header) if constant is None else Scaling(1, 0, None, self.dtype)
        )
        self.unit = self.info.unit
        self.metadata: dict[str, Any] = {"fits": _metadata(self._file, self.info)}
        self._stored: _Compressed | RowReader | ConstantPlane
        if constant is not None:
            self._stored = constant
            self._file.close()
        elif isinstance(hdu, fits.CompImageHDU):
            self._stored = _Compressed(hdu, self.shape)
            self.resident_bytes = min(CACHE_BYTES, math.prod(self.shape) * 8)
        else:
            self._stored = RowReader(self._file.path, row_layout(hdu, self._file.span(index)))
            self._file.close()  # the pixels are read without astropy

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box.

        Raises
        ------
        SourceError
            If the file ends before the box does, or a compressed tile is damaged.
        """
        stored = self._stored.read(box, channels)
        values, valid = self._scaling.apply(stored, self.working_dtype)
        return Pixels(values, valid)

    def close(self) -> None:
        """Close the file."""
        self._stored.close()
        self._file.close()


def fits_images(path: Path) -> tuple[list[ImageInfo], list[str]]:
    """Every HDU of a file, and the warnings of the reader.

    Raises
    ------
    SourceError
        If the file cannot be opened as FITS at all.
    """
    with collected_warnings(path) as complaints:
        file = FitsFile(path, path)
        try:
            infos = [hdu_info(index, hdu, file) for index, hdu in file.each()]
        finally:
            file.close()
    return infos, complaints


class _Compressed:
    """Reads boxes of a tile-compressed image, and caches the decoded cells."""

    def __init__(self, hdu: Any, shape: tuple[int, int, int]) -> None:
        self._hdu = hdu
        self._shape = shape
        tile_height, tile_width = (int(n) for n in hdu.tile_shape[-2:])
        self._cell = (
            tile_height * max(1, -(-_CELL[0] // tile_height)),
            tile_width * max(1, -(-_CELL[1] // tile_width)),
        )
        self._cache = SegmentCache()
        # index of each plane over all leading axes, those of length 1 included
        self._leading = list(np.ndindex(*hdu.shape[:-2]))

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> npt.NDArray[Any]:
        """Stored numbers, ``(c, *box.shape)``."""
        planes = range(*(channels or (0, self._shape[0])))
        return np.concatenate(
            [gather(box, self._cell, functools.partial(self._fetch, plane)) for plane in planes]
        )

    def _fetch(self, plane: int, row: int, column: int) -> npt.NDArray[Any]:
        return self._cache.get((plane, row, column), lambda: self._decode(plane, row, column))

    def _decode(self, plane: int, row: int, column: int) -> npt.NDArray[Any]:
        _, height, width = self._shape
        high, wide = self._cell
        rows = slice(row * high, min((row + 1) * high, height))
        columns = slice(column * wide, min((column + 1) * wide, width))
        try:
            cell = self._hdu.section[(*self._leading[plane], rows, columns)]
        # the codecs raise RuntimeError, ValueError, zlib.error, ... on damaged tiles
        except Exception as error:
            raise SourceError(
                f"{self._hdu.fileinfo()['file'].name}: rows {rows.start} to {rows.stop} "
                f"cannot be decompressed: {one_line(error)}"
            ) from error
        cell = np.asarray(cell)[None]
        return cell.astype(cell.dtype.newbyteorder("="), copy=False)

    def close(self) -> None:
        self._cache.clear()


def _metadata(file: FitsFile, info: ImageInfo) -> dict[str, Any]:
    text = header_text(info.index, file[info.index], file)
    found: dict[str, Any] = {
        "header": text,
        "cards": _cards(text),
        "hdu": info.index,
        "name": info.name,
        "hdus": file.count(),
    }
    if isinstance(file[info.index], fits.CompImageHDU):
        found["compression"] = str(file[info.index].compression_type)
    if info.index > 0:
        found["primary"] = header_text(0, file[0], file)
    return found


def _cards(text: str) -> list[list[Any]]:
    """The cards as (keyword, value, comment), for readers without a FITS library."""
    triples: list[list[Any]] = []
    for card in fits.Header.fromstring(printable(text), sep="\n").cards:
        if not is_sound(card):
            image = str(card.image)
            triples.append([image[:8].rstrip(), image, ""])
            continue
        value, comment = card.value, card.comment
        plain = isinstance(value, bool | int | float | str)
        undefined = isinstance(value, fits.card.Undefined)
        triples.append(
            [card.keyword, None if undefined else value if plain else str(value), comment]
        )
    return triples
