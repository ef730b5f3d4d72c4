"""A source whose pixels come from an array: what a reader of a further format returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.sources.source import FileSource, Format, ImageInfo, Pixels, SourceSpec
from glassplate.pipeline.tile_grid import Box


class ArrayLike(Protocol):
    """What can be read in boxes: an array of numpy, a memory map, a data set of h5py or Zarr."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(y, x)`` or ``(c, y, x)``."""
        ...

    @property
    def dtype(self) -> Any:
        """Type of the pixels: whole numbers or floats."""
        ...

    def __getitem__(self, index: tuple[slice, ...], /) -> Any:
        """Read a box, with an index for each axis."""
        ...


class ArraySource(FileSource):
    """An image whose pixels are an array, with what is invalid in it."""

    def __init__(
        self,
        spec: SourceSpec,
        info: ImageInfo,
        array: ArrayLike,
        *,
        like: Format,
        metadata: dict[str, Any],
        invalid: ArrayLike | None = None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        """Take an array as an image.

        Parameters
        ----------
        spec
            As the reader got it.
        info
            Of the image; `ImageInfo.unit` becomes the unit of the source.
        array
            ``(y, x)`` or ``(c, y, x)``. Up to four planes are colours of one scene.
        like
            As of the reader.
        metadata
            JSON-able. The exports read the keys "fits" (``{"header": cards joined by newlines}``) and "tiff"
            (tags); what stands under other keys is kept in the result.
        invalid
            Of the same shape or of one plane; a pixel is invalid where it is not 0. NaN is invalid anyway.
        close
            Closes the file.

        Raises
        ------
        SourceError
            If the array is no image.
        """
        shape, dtype = tuple(int(n) for n in array.shape), np.dtype(array.dtype)
        if len(shape) not in (2, 3) or 0 in shape or dtype.kind not in "uif":
            raise SourceError(
                f"{spec.path}: an array of {dtype} of shape {shape} is no image; two or three axes of whole "
                "numbers or floats are needed"
            )
        self.spec, self.info, self.format = spec, info, like
        self._take(shape, dtype.newbyteorder("="))
        self.unit = info.unit
        self.resident_bytes = array.nbytes if type(array) is np.ndarray else 0
        self.metadata = metadata
        self._array, self._invalid, self._close = array, invalid, close

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box."""
        stored = self._box(self._array, box, channels)
        valid = np.isfinite(stored)
        if self._invalid is not None:
            valid &= self._box(self._invalid, box, channels) == 0
        values = stored.astype(self.working_dtype)
        values[~np.isfinite(stored)] = 0
        return Pixels(values, valid)

    def _box(
        self, array: ArrayLike, box: Box, channels: tuple[int, int] | None
    ) -> npt.NDArray[Any]:
        """Read a box of an array, ``(c, h, w)``, with one plane if the array has no axis of planes."""
        index = (
            (*box.slices,)
            if len(array.shape) == 2
            else (slice(*(channels or (0, self.shape[0]))), *box.slices)
        )
        return np.asarray(array[index]).reshape(-1, *box.shape)

    def close(self) -> None:
        """Close the file."""
        self._close()
