"""The size of a pixel in a physical unit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

LengthOrAngle = Literal["micrometer", "meter", "foot", "arcsecond"]
"""Names of units in OME-Zarr, which takes them from UDUNITS-2.

Its list of recommended units has lengths and no angle. The name of the angle is that of UDUNITS-2, and of
pint, which napari uses.
"""


@dataclass(frozen=True)
class PixelSize:
    """The distance between the centres of neighbouring pixels along each axis."""

    y: float
    x: float
    unit: LengthOrAngle

    def __post_init__(self) -> None:
        if not all(math.isfinite(size) and size > 0 for size in (self.y, self.x)):
            raise ValueError(f"a pixel of {self.y} x {self.x} {self.unit}; sizes must be above 0")

    def divided(self, scale: int) -> PixelSize:
        """The size of pixels that are `scale` times finer."""
        return PixelSize(self.y / scale, self.x / scale, self.unit)
