"""Restored windows on their way from fit to stitch: one file for each tile, written atomically."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.files import write_atomically

# Columns of an iteration log.
LOG_FIELDS = ("iteration", "data_term", "heldout_loss", "chi2", "seconds")

# Logs of runs that an earlier version began have a sixth column, the moving variance of a stopping rule that
# is gone; they are resumed.
EARLIER_FIELDS = 6
EARLIER_VARIANCE = 4


class Scratch:
    """The folder of restored windows of one result."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def window_path(self, tile: int) -> Path:
        """File of a tile's window; a folder holds a thousand tiles, since very full folders are slow."""
        return self.folder / f"{tile // 1000:05d}" / f"window-{tile:08d}.npy"

    def log_path(self, tile: int) -> Path:
        """File of a tile's iteration log."""
        return self.folder / f"{tile // 1000:05d}" / f"log-{tile:08d}.npy"

    def write_window(self, tile: int, values: npt.NDArray[Any]) -> int:
        """Write a restored window ``(c, h, w)``; return the CRC-32 of the file.

        The channels of the uncertainty, where it is wanted, follow those of the image.
        """
        return _write(self.window_path(tile), values)

    def write_log(self, tile: int, log: npt.NDArray[Any]) -> int:
        """Write an iteration log ``(record, field)``; return the CRC-32 of the file."""
        return _write(self.log_path(tile), log)

    def read_window(self, tile: int) -> npt.NDArray[Any]:
        """Window of a tile, ``(c, h, w)``, memory-mapped: only the part that is used is read."""
        window: npt.NDArray[Any] = np.load(
            self.window_path(tile), mmap_mode="r", allow_pickle=False
        )
        return window

    def read_log(self, tile: int) -> npt.NDArray[Any]:
        """Iteration log of a tile, ``(record, field)``."""
        log: npt.NDArray[Any] = np.load(self.log_path(tile), allow_pickle=False)
        if log.shape[1] == EARLIER_FIELDS:
            log = np.delete(log, EARLIER_VARIANCE, axis=1)
        return log

    def window_is(self, tile: int, crc32: int) -> bool:
        """Whether the file of the window is as it was written."""
        path = self.window_path(tile)
        return path.is_file() and zlib.crc32(path.read_bytes()) == crc32


def _write(path: Path, values: npt.NDArray[Any]) -> int:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    content = buffer.getbuffer()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    return zlib.crc32(content)
