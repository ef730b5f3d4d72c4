"""Images without data whose header says that all their pixels have one value: HST's PIXVALUE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from glassplate.pipeline.tile_grid import Box

# Longest axis that is accepted. Nothing is allocated for it, but a plan counts its tiles.
_MOST_LENGTH = 2**31 - 1


@dataclass(frozen=True)
class ConstantPlane:
    """Pixels of one value; reads boxes as `RowReader` does."""

    height: int
    width: int
    value: float

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> npt.NDArray[np.floating]:
        """The pixels of a box, ``(1, *box.shape)``."""
        return np.full((1, *box.shape), self.value)

    def fits(self, dtype: np.dtype[np.integer]) -> bool:
        """Whether a type of integers has the value."""
        info = np.iinfo(dtype)
        return self.value.is_integer() and info.min <= self.value <= info.max

    def close(self) -> None:
        """There is nothing to close."""


def constant_plane(header: fits.Header) -> ConstantPlane | None:
    """The plane that a header without axes means by NPIX1, NPIX2 and PIXVALUE; None if it means none.

    HST's archives write ERR and DQ planes so where all values are equal.
    """
    if header.get("NAXIS") != 0:
        return None
    width, height = header.get("NPIX1"), header.get("NPIX2")
    value = header.get("PIXVALUE")
    if not isinstance(value, int | float):
        return None
    if not (isinstance(width, int) and isinstance(height, int)):
        return None
    if not (1 <= width <= _MOST_LENGTH and 1 <= height <= _MOST_LENGTH):
        return None
    return ConstantPlane(height, width, float(value))
