"""A known point-spread function (PSF)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Psf:
    """A point-spread function on the pixel grid of the estimate, its centre in the middle pixel.

    Small, immutable and comparable, so that its operator can be compared, hashed and pickled.
    """

    shape: tuple[int, int]
    """Height and width in pixels, both odd."""
    content: bytes = field(repr=False)
    """The values row by row, float64, summing to 1."""

    def __post_init__(self) -> None:
        height, width = self.shape
        if height % 2 == 0 or width % 2 == 0:
            raise ValueError(f"PSF of {height} x {width} pixels: both sides must be odd")
        if len(self.content) != height * width * 8:
            raise ValueError(
                f"PSF of {height} x {width} pixels: {len(self.content)} bytes, must be "
                f"{height * width * 8}"
            )

    @classmethod
    def of(cls, values: npt.ArrayLike) -> Psf:
        """Make a PSF of an array ``(h, w)`` divided by its sum.

        Raises
        ------
        ValueError
            If a side is even or the sum is not positive.
        """
        array = np.asarray(values, np.float64)
        total = array.sum()
        if array.ndim != 2 or not total > 0:
            raise ValueError(
                f"PSF of shape {array.shape} with sum {total:g}: must be 2-D and positive"
            )
        height, width = array.shape
        return cls((height, width), (array / total).tobytes())

    def values(self) -> npt.NDArray[np.float64]:
        """The PSF as an array ``(h, w)``."""
        return np.frombuffer(self.content).reshape(self.shape)
