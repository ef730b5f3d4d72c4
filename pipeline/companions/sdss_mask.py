"""The masks of SDSS (fpM files): one table of runs of pixels for each flag, read as an image of flags."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.file_format import sniff_format
from glassplate.pipeline.sources.guarded_reading import as_source_errors
from glassplate.pipeline.sources.source import FileSource, Format, ImageInfo, Pixels, SourceSpec
from glassplate.pipeline.sources.unpack import unpacked
from glassplate.pipeline.tile_grid import Box

# Largest mask that is read, pixels: a field of SDSS has 3 million.
MOST_PIXELS = 100_000_000
_FRAME = re.compile(r"frame-([ugriz])-(\d{6})-(\d)-(\d{4})\.fits?(\.bz2|\.gz)?")


class SdssMask(FileSource):
    """The mask of a field of SDSS as a source: the sum of the flags of each pixel, read as a whole."""

    format: Format = "fits"

    def __init__(self, path: Path) -> None:
        """Read the tables of runs.

        Raises
        ------
        SourceError
            If it is not such a file, or damaged.
        """
        self.spec = SourceSpec(path)
        with collected_warnings(path), as_source_errors(path), fits.open(unpacked(path)) as hdus:
            cards = dict(hdus[0].header)
            self._flags = _flags_of(hdus, path)
        self._take(self._flags.shape, self._flags.dtype)
        self.info = ImageInfo(0, "", self.shape[1:], self.dtype.name, None, True, None)
        self.resident_bytes = self._flags.nbytes
        self.metadata: dict[str, Any] = {"fits": {"cards": cards}}

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box of the mask, all of which is valid."""
        values = self._flags[box.slices][None].astype(np.float32)
        return Pixels(values, np.ones(values.shape, bool))

    def close(self) -> None:
        """Nothing is open."""


def is_sdss_mask(path: Path) -> bool:
    """Whether a file is a mask of SDSS, by the cards of its primary header."""
    return path.is_file() and sniff_format(path) == "fits" and sdss_mask_shape(path) is not None


def sdss_mask_shape(path: Path) -> tuple[int, int] | None:
    """Rows and columns of a mask of SDSS; None for any other FITS file, and one that cannot be read."""
    try:
        with collected_warnings(path):
            header = fits.getheader(unpacked(path), 0)
            return int(header["MASKROWS"]), int(header["MASKCOLS"])
    # astropy raises nearly anything on a damaged header, which is no mask then
    except Exception:
        return None


def sdss_mask_of(frame: Path, shape: tuple[int, ...]) -> Path | None:
    """The mask beside a frame of SDSS of a shape ``(y, x)``, by its name; None if there is none of its size.

    That of ``frame-r-001000-1-0100.fits.bz2`` is ``fpM-001000-r1-0100.fit``, which may be packed too.
    """
    named = _FRAME.fullmatch(frame.name)
    if named is None:
        return None
    band, run, camcol, field, _ = named.groups()
    for suffix in (".fit", ".fit.gz", ".fits", ".fits.gz"):
        path = frame.with_name(f"fpM-{run}-{band}{camcol}-{field}{suffix}")
        if path.is_file() and sdss_mask_shape(path) == shape:
            return path
    return None


def _flags_of(hdus: fits.HDUList, path: Path) -> npt.NDArray[np.uint16]:
    """The sum of the flags of each pixel, ``(y, x)``: the first table holds flag 1, the next 2, and so on."""
    header = hdus[0].header
    rows, columns = int(header["MASKROWS"]), int(header["MASKCOLS"])
    if rows < 1 or columns < 1 or rows * columns > MOST_PIXELS:
        raise SourceError(
            f"{path}: {rows} x {columns} pixels, must be between 1 and {MOST_PIXELS} of them"
        )
    flags = np.zeros((rows, columns), np.uint16)
    for plane in range(int(header["NPLANE"])):
        for run in hdus[plane + 1].data:
            # row, first and last column of each run, two bytes each
            numbers = np.frombuffer(np.asarray(run["s"], np.uint8).tobytes(), ">i2")
            for row, first, last in numbers.reshape(-1, 3)[: int(run["nspan"])]:
                flags[row, first : last + 1] |= np.uint16(1 << plane)
    return flags
