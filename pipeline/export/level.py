"""The image that is exported: one level of a result, with what the file formats record of its origin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from glassplate.pipeline.errors import StoreError, UsageError
from glassplate.pipeline.export.strength import FULL, Removed, check_strength, open_removed
from glassplate.pipeline.provenance.manifest import read_manifest
from glassplate.pipeline.store.ome_zarr import read_attributes
from glassplate.pipeline.tasks import TASKS, TaskName
from glassplate.pipeline.tile_grid import Box

# Decoded pixels that are read at once, so that an export needs some tens of MB for an image of any size.
BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class ExportedImage:
    """A level of a result, read in blocks."""

    array: Any
    """The level's Zarr array, ``(y, x)`` or ``(c, y, x)``."""
    level: int
    attributes: dict[str, Any]
    """Attributes of the group: ``glassplate`` and one of ``fits``, ``tiff``, ``raster``."""
    strength: float = FULL
    """Share of what was removed that stays removed, 0 to 1."""
    removed: Removed | None = None
    """None at full strength."""
    task: TaskName | None = None
    """What the run did, as `TASKS` names it; None where that is not recorded."""
    turned: bool = False
    """Whether rows are read from the last to the first: FITS counts them from the bottom, others from the
    top."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(c, y, x)``."""
        shape = tuple(int(n) for n in self.array.shape)
        return shape[0] if len(shape) == 3 else 1, shape[-2], shape[-1]

    @property
    def ndim(self) -> int:
        """2 or 3, as stored."""
        return len(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        found: np.dtype[Any] = np.dtype(self.array.dtype)
        return found

    @property
    def run(self) -> dict[str, Any]:
        """The ``glassplate`` attributes: version, run_id, recipe, scale, source, ..."""
        found: dict[str, Any] = self.attributes["glassplate"]
        return found

    @property
    def factor(self) -> float:
        """Pixels per pixel of the input along an axis; below 1 for coarse levels."""
        return float(self.run.get("scale", 1) / 2**self.level)

    @property
    def hdu(self) -> int:
        """Index of the HDU that was restored; 0 for an input of another format."""
        return int(self.attributes.get("fits", {}).get("hdu", 0))

    @property
    def software(self) -> str:
        """Name and version of glassplate, for the tags and cards that name a program."""
        return f"glassplate {self.run.get('version', '')}".strip()

    @property
    def origin(self) -> str:
        """File name of the input."""
        return Path(str(self.run.get("source", {}).get("path", ""))).name

    @property
    def is_enhanced(self) -> bool:
        """Whether the pixels are other than those of the input."""
        return self.task is not None and TASKS[self.task].fits and self.strength > 0

    def read(self, box: Box, planes: slice) -> npt.NDArray[Any]:
        """Read a region of some planes, ``(c, h, w)``."""
        if self.turned:
            height = self.shape[1]
            box = Box(height - box.y1, height - box.y0, box.x0, box.x1)
        index = (planes, *box.slices) if self.ndim == 3 else box.slices
        pixels = np.asarray(self.array[index])
        if self.removed is not None:
            pixels = self.removed.mixed_into(pixels, index, self.strength)
        pixels = pixels.reshape(-1, *box.shape)
        return pixels[:, ::-1] if self.turned else pixels

    def bands(self, plane: int) -> Iterator[npt.NDArray[Any]]:
        """Yield the rows of a plane from the first to the last in bands ``(h, x)``."""
        _, height, width = self.shape
        fitting = BLOCK_BYTES // (width * self.dtype.itemsize)
        chunk = int(self.array.chunks[-2])
        # bands of whole chunks if one fits, so that no chunk is decoded twice
        step = max(1, fitting // chunk * chunk if fitting >= chunk else fitting)
        for y in range(0, height, step):
            box = Box(y, min(y + step, height), 0, width)
            yield self.read(box, slice(plane, plane + 1))[0]


def count_levels(store: Path) -> int:
    """Number of levels of a result."""
    group = zarr.open_group(store, mode="r")
    return sum(name.isdigit() for name, _ in group.arrays())


def open_level(store: Path, level: int, strength: float = FULL) -> ExportedImage:
    """Open a level of a result.

    Raises
    ------
    StoreError
        If there is no result, or its level 0 is missing.
    UsageError
        If the result has no such level, or not at this strength (see `open_removed`).
    """
    check_strength(strength, level)
    attributes = read_attributes(store)
    group = zarr.open_group(store, mode="r")
    levels = sorted(int(name) for name, _ in group.arrays() if name.isdigit())
    if not levels:
        raise StoreError(f"{store}: the result has no image; run the restoration again")
    if level not in levels:
        raise UsageError(f"--level {level}: {store} has levels {levels[0]} to {levels[-1]}")
    removed = None if strength == FULL else open_removed(store)
    task = read_manifest(store).recipe.get("task")
    return ExportedImage(group[str(level)], level, attributes, strength, removed, task)
