"""A result as a page shows it: pixels before and after, and what was removed, read in boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.errors import GlassplateError
from glassplate.pipeline.files import sha256_of
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.provenance.manifest import Manifest
from glassplate.pipeline.result.opened import Result
from glassplate.pipeline.sources.source import Source, SourceSpec, white_value
from glassplate.pipeline.store.row_order import first_row_is_lowest
from glassplate.pipeline.tasks import TASKS, TaskTraits
from glassplate.pipeline.tile_grid import Box

FloatArray: TypeAlias = npt.NDArray[np.float64]
Colours: TypeAlias = Literal["grey", "rgb", "cmyk"]

# TIFF's photometric interpretations.
_RGB, _SEPARATED = 2, 5
SHOWN_PLANES: dict[Colours, int] = {"grey": 1, "rgb": 3, "cmyk": 4}


def colours_of(metadata: Mapping[str, Any], planes: int, *, joint: bool) -> Colours:
    """What the planes of an image are, alpha not counted, by the metadata of its source."""
    found = metadata.get("tiff") or metadata.get("raster") or {}
    photometric = found.get("photometric")
    if photometric == _SEPARATED and planes == SHOWN_PLANES["cmyk"]:
        return "cmyk"
    is_rgb = joint and planes == SHOWN_PLANES["rgb"] and photometric in (None, _RGB)
    return "rgb" if is_rgb else "grey"


@dataclass(frozen=True, eq=False)
class Views:
    """A box of the result's grid, ``(c, h, w)`` each, source units; NaN is invalid."""

    after: FloatArray
    before: FloatArray | None
    """None where the input is not known: see `ShownResult.why_no_before`."""
    removed: FloatArray | None
    """Of an enlarged image, each value is repeated on the finer grid."""


class ShownResult:
    """A result whose run has ended. Colours are shown together, of a cube its first plane.

    Raises
    ------
    StoreError
        If there is no result, or its run has not ended.
    """

    def __init__(self, store: Path) -> None:
        self.result = Result(store)
        self.store = store
        self.manifest: Manifest = self.result.manifest
        self.traits: TaskTraits = TASKS[self.manifest.recipe["task"]]
        self.scale = self.result.scale
        layout = self.manifest.plan.layout
        self.planes, self.height, self.width = layout.shape
        self.levels = layout.levels
        self.colours = colours_of(
            self.result.attributes, self.planes - layout.alpha, joint=layout.joint
        )
        self.shown_planes = SHOWN_PLANES[self.colours]
        same_shape = self.result.zarr("residual").shape == self.result.zarr("image").shape
        self.same_grid = self.scale == 1 and not layout.mixes and same_shape
        """Whether the result plus what was removed is the input."""

    @property
    def first_row_is_lowest(self) -> bool:
        """Whether a person sees the first row at the bottom, as in FITS."""
        return first_row_is_lowest(self.result.attributes)

    @property
    def is_photograph(self) -> bool:
        """Whether the pixels are integers of a picture, which have a black and a white."""
        return self.result.dtype.kind in "iu" and "fits" not in self.result.attributes

    @property
    def white(self) -> float:
        """The value of white of a photograph."""
        return white_value(self.result.dtype, self.result.attributes)

    @property
    def why_no_before(self) -> str | None:
        """Why the input cannot be shown, as a sentence; None if it can."""
        return None if self.same_grid or self._input is not None else self._missing

    def read(self, box: Box) -> Views:
        """Read a box of the result's grid at full resolution."""
        after = self._masked(self._read("image", box), box)
        removed = self._removed(box)
        if self.same_grid and removed is not None:
            return Views(after, after + removed, removed)
        return Views(after, self._of_input(box), removed)

    def read_level(self, level: int) -> FloatArray:
        """Read a whole level of the pyramid, ``(c, h, w)``; NaN where a float is invalid."""
        array = self.result.zarr("image", level)
        values = np.asarray(
            array[: self.shown_planes] if array.ndim == 3 else array[...], np.float64
        )
        return values.reshape(-1, *array.shape[-2:])

    def _read(self, name: Literal["image", "residual", "footprint"], box: Box) -> FloatArray:
        array = self.result.zarr(name)
        planes = (slice(0, self.shown_planes),) if array.ndim == 3 else ()
        values = np.asarray(array[(*planes, *box.slices)], np.float64)
        return values.reshape(-1, *values.shape[-2:])

    def _masked(self, values: FloatArray, box: Box) -> FloatArray:
        """Set transparent pixels, and those of tiles that could not be restored, to NaN."""
        known = self._read("footprint", box) > 0
        if self.manifest.plan.layout.alpha:
            known &= np.asarray(self.result.zarr()[(-1, *box.slices)]) > 0
        return np.where(known, values, np.nan)

    def _removed(self, box: Box) -> FloatArray | None:
        if self.result.zarr("residual").ndim != self.result.zarr("image").ndim:
            return None
        return self._on_fine_grid(self._read("residual", self._below(box)), box)

    def _of_input(self, box: Box) -> FloatArray | None:
        """The input in a box of the result's grid, each of its pixels as large as it was."""
        source = self._input
        if source is None:
            return None
        pixels = source.read(self._below(box), (0, min(self.shown_planes, source.shape[0])))
        values = np.where(pixels.valid, pixels.values, np.nan) * self.manifest.plan.flux_factor
        if len(values) == 1 and self.shown_planes > 1:
            values = np.repeat(values, self.shown_planes, 0)  # a grey photograph that was coloured
        return self._on_fine_grid(values, box)

    def _below(self, box: Box) -> Box:
        """The pixels of the input that a box of the result's grid touches."""
        step = self.scale
        return Box(box.y0 // step, -(-box.y1 // step), box.x0 // step, -(-box.x1 // step))

    def _on_fine_grid(self, values: FloatArray, box: Box) -> FloatArray:
        """Values of `_below` with each pixel repeated, cut to the box."""
        if self.scale == 1:
            return values
        below = self._below(box)
        fine = values.repeat(self.scale, 1).repeat(self.scale, 2)
        y, x = box.y0 - below.y0 * self.scale, box.x0 - below.x0 * self.scale
        return fine[:, y : y + box.shape[0], x : x + box.shape[1]]

    @cached_property
    def _input(self) -> Source | None:
        """The input file, opened; None unless it is where it was and unchanged."""
        identity = self.manifest.identity
        path = Path(identity.source.path)
        if not path.is_file() or path.stat().st_size != identity.source.bytes:
            return None
        if sha256_of(path) != identity.source.sha256:
            return None
        page = identity.page if identity.page in (None, "all") else int(identity.page)
        try:
            return open_source(SourceSpec(path=path, hdu=identity.hdu, page=page))  # type: ignore[arg-type]
        except GlassplateError:
            return None

    @property
    def _missing(self) -> str:
        return (
            f"The input is not shown: the result is on another grid, and "
            f"{self.manifest.identity.source.path} is not there or has changed."
        )

    def close(self) -> None:
        """Close the input, if it was opened."""
        source: Any = self.__dict__.get("_input")
        if source is not None:
            source.close()
