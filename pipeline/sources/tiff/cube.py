"""All pages of a TIFF file as the planes of a cube, such as the frames of a sequence."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.source import AlphaReader, Format, ImageInfo, Pixels, SourceSpec
from glassplate.pipeline.sources.tiff.directories import directories
from glassplate.pipeline.sources.tiff.image import TiffSource
from glassplate.pipeline.sources.tiff.pages import open_tiff, tiff_images
from glassplate.pipeline.tile_grid import Box

# Largest number of open pages, each of which holds two file handles and decoded strips.
MOST_OPEN = 4


class PagesSource:
    """All pages of a TIFF file, of one shape and type, as planes ``(page, y, x)``."""

    format: Format = "tiff"

    def __init__(self, spec: SourceSpec, path: Path) -> None:
        """Check every page of the plain file `path`, and open the first.

        Raises
        ------
        SourceError
            If a page cannot be restored, has colours, or another shape or type than the first.
        """
        if spec.hdu is not None:
            raise UsageError(f"{spec.path}: --hdu is for FITS, this is TIFF; use --page")
        self.spec, self._path = spec, path
        infos, complaints = tiff_images(path)
        with collected_warnings(path), open_tiff(path, spec.path) as tiff:
            self._places = list(directories(tiff))
        for info in infos:
            _check(spec, info, infos[0])
        self._opened: OrderedDict[int, TiffSource] = OrderedDict()
        first = self._page(0)
        self.info: ImageInfo = replace(first.info, shape=(len(infos), *first.info.shape))
        self.shape: tuple[int, int, int] = (len(infos), *first.shape[1:])
        self.ndim: Literal[2, 3] = 3
        self.joint = False
        self.dtype, self.working_dtype = first.dtype, first.working_dtype
        self.output_dtype, self.unit = first.output_dtype, first.unit
        self.alpha: AlphaReader | None = None
        self.resident_bytes = min(MOST_OPEN, len(infos)) * first.resident_bytes
        tags = {**first.metadata["tiff"], "pages": len(infos), "warnings": complaints}
        self.metadata: dict[str, Any] = {"tiff": tags}

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box of some pages, or of all."""
        parts = [self._page(page).read(box) for page in range(*(channels or (0, self.shape[0])))]
        return Pixels(
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.valid for part in parts]),
        )

    def _page(self, page: int) -> TiffSource:
        if page in self._opened:
            self._opened.move_to_end(page)
            return self._opened[page]
        while len(self._opened) >= MOST_OPEN:
            self._opened.popitem(last=False)[1].close()
        self._opened[page] = TiffSource(
            replace(self.spec, page=page), self._path, place=self._places[page]
        )
        return self._opened[page]

    def close(self) -> None:
        """Close the pages that are open."""
        while self._opened:
            self._opened.popitem()[1].close()


def _check(spec: SourceSpec, info: ImageInfo, first: ImageInfo) -> None:
    """Refuse a page that does not match the first."""
    way_out = "restore it by its number with --page"
    if not info.restorable:
        raise SourceError(f"{spec.path}: page {info.index}: {info.reason}; {way_out}")
    if len(info.shape) != 2:
        raise SourceError(
            f"{spec.path}: page {info.index} has {info.shape[0]} channels, pages of one are stacked; "
            f"{way_out}"
        )
    if (info.shape, info.dtype) != (first.shape, first.dtype):
        raise SourceError(
            f"{spec.path}: page {info.index} is {info.shape[0]} x {info.shape[1]} {info.dtype}, page 0 "
            f"{first.shape[0]} x {first.shape[1]} {first.dtype}; {way_out}"
        )
