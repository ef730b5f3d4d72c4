"""A result that is assessed: its image, what was removed, and the noise, read in boxes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from glassplate.models.noise.model import NoiseModel
from glassplate.pipeline.errors import StoreError
from glassplate.pipeline.provenance.manifest import Manifest, read_manifest
from glassplate.pipeline.sources.source import white_value
from glassplate.pipeline.store.ome_zarr import read_attributes
from glassplate.pipeline.tasks import TASKS, TaskTraits
from glassplate.pipeline.tile_grid import Box

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class ZarrImage:
    """A Zarr array of two or three dimensions. NaN is invalid."""

    def __init__(self, array: zarr.Array[Any]) -> None:
        self._array = array
        c, y, x = (1,) * (3 - array.ndim) + tuple(array.shape)
        self.shape = (c, y, x)
        self.dtype = np.dtype(array.dtype)

    def read(self, box: Box) -> tuple[FloatArray, BoolArray]:
        """Return values ``(c, h, w)``, and where they are finite."""
        whole = (slice(None),) * (self._array.ndim - 2)
        pixels = np.asarray(self._array[(*whole, *box.slices)], np.float64)
        values = pixels.reshape(self.shape[0], *box.shape)  # (c, h, w)
        return values, np.isfinite(values)


class ResultImage:
    """Level 0 of a result, with the noise model of its input."""

    def __init__(self, store: Path) -> None:
        own = read_attributes(store)["glassplate"]
        self._level = open_image(store, "0")
        self._footprint = open_image(store, "footprint")
        self.shape = self._level.shape
        self.dtype = self._level.dtype
        self.noise: NoiseModel | None = None
        """None for an enlarged image, whose pixels are no measurements."""
        if own["scale"] == 1:
            self.noise = read_manifest(store).plan.noise

    def read(self, box: Box) -> tuple[FloatArray, BoolArray]:
        """Return values, and where a valid pixel contributed to them."""
        values, finite = self._level.read(box)
        contributions, _ = self._footprint.read(box)
        return values, finite & (contributions > 0)


def open_image(store: Path, name: str) -> ZarrImage:
    """Open an array of a result.

    Raises
    ------
    StoreError
        If it is missing.
    """
    try:
        return ZarrImage(zarr.open_array(store / name, mode="r"))
    except (FileNotFoundError, ValueError) as error:
        raise StoreError(f"{store}: an array is missing; `glassplate verify` it") from error


@dataclass(frozen=True, eq=False)
class Region:
    """A box of the input's grid, as far as the result knows it; all arrays are ``(c, h, w)``."""

    box: Box
    estimate: FloatArray
    """Restored image in source units, on the grid of the input: the mean of the pixels of the result that
    an enlarged pixel became."""
    residual: FloatArray
    """Input minus restored image, or minus its simulated measurement, source units."""
    known: BoolArray
    """Where both are numbers, the pixel was valid in the input and tiles contributed."""

    @property
    def given(self) -> FloatArray:
        """The input, source units; only where the result is on the input's grid and is no sharper."""
        return self.estimate + self.residual


class AssessedResult:
    """A result whose run has ended, read in boxes of the input's grid. The input is not needed.

    Raises
    ------
    StoreError
        If there is no result, its run has not ended, or an array is missing.
    """

    def __init__(self, store: Path) -> None:
        self.store = store
        self.attributes = read_attributes(store)
        self.manifest: Manifest = read_manifest(store)
        if not self.manifest.has_ended:
            raise StoreError(
                f"{store}: its run has status {self.manifest.status} and has not ended; give the command "
                "of the restoration again to finish it"
            )
        plan, layout = self.manifest.plan, self.manifest.plan.layout
        self.traits: TaskTraits = TASKS[self.manifest.recipe["task"]]
        self.scale = layout.scale
        self._factor = plan.flux_factor
        self._image = open_image(store, "0")
        self._footprint = open_image(store, "footprint")
        self._residual = open_image(store, "residual")
        self._filled = open_image(store, "filled") if layout.fills else None
        self._alpha = layout.alpha
        channels, height, width = self._residual.shape
        self.shape = (channels - self._alpha, height, width)
        """``(c, y, x)`` of the input without alpha."""
        self.dtype = self._image.dtype
        self.same_grid = self.scale == 1 and not layout.mixes
        """Whether the restored image plus the residual is the input."""
        self.noise = self._measured_noise()
        """Noise of the input in source units; None where none was measured, or it is that of each pixel."""

    def _measured_noise(self) -> NoiseModel | None:
        """The noise model, unless a noise image took its place or the task measures none."""
        noise = self.manifest.plan.noise
        told = self.manifest.identity.variance is not None
        return None if told or not self.traits.measures or noise.floor + noise.slope <= 0 else noise

    @property
    def was_denoised(self) -> bool:
        """Whether noise was to be removed, and some was found."""
        return self.traits.denoises and not self.manifest.plan.removes_nothing

    @property
    def unit(self) -> str | None:
        """Unit of the pixels."""
        unit: str | None = self.attributes["glassplate"].get("unit")
        return unit

    @property
    def white(self) -> float:
        """The value of white of a photograph."""
        return white_value(self.dtype, self.attributes)

    @property
    def is_photograph(self) -> bool:
        """Whether the pixels are integers of TIFF, PNG or JPEG."""
        return self.dtype.kind in "iu" and "fits" not in self.attributes

    @property
    def photometric(self) -> int | None:
        """TIFF's photometric interpretation of the channels; None where the file states none."""
        found = self.attributes.get("tiff") or self.attributes.get("raster") or {}
        value = found.get("photometric")
        return None if value is None else int(value)

    def read(self, box: Box) -> Region:
        """Read a box of the input's grid."""
        fine = box.scaled(self.scale)
        image, finite = self._image.read(fine)
        contributions, _ = self._footprint.read(fine)
        residual, measured = self._residual.read(box)
        known = finite & (contributions > 0)
        if self._alpha:
            known &= image[-1:] > 0
        if self._filled is not None:
            filled, _ = self._filled.read(fine)
            known &= filled == 0
        count = self.shape[0]
        estimate = _shrunk(np.where(known, image, 0), self.scale)[:count] / self._factor
        known = (_shrunk(known.astype(np.float64), self.scale) == 1)[:count] & measured[:count]
        return Region(box, estimate, residual[:count], known)

    def sigma(self, estimate: FloatArray) -> FloatArray | None:
        """Standard deviation of the noise of each pixel, source units; None where none was measured."""
        return None if self.noise is None else np.sqrt(self.noise.pixel_variance(estimate))


def _shrunk(values: FloatArray, scale: int) -> FloatArray:
    """Mean of each square of `scale` pixels of ``(c, h, w)``."""
    if scale == 1:
        return values
    c, h, w = values.shape
    means: FloatArray = values.reshape(c, h // scale, scale, w // scale, scale).mean((2, 4))
    return means


def rounded(value: float, digits: int = 4) -> float | None:
    """A figure to so many significant digits; None where it is infinite or NaN."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None
