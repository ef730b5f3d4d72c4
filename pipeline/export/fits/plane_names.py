"""Names of the arrays of a result that an exported FITS file may have as further extensions."""

from __future__ import annotations

from enum import StrEnum


class PlaneName(StrEnum):
    """An array beside the restored image; its EXTNAME in capitals."""

    RESIDUAL = "residual"
    UNCERTAINTY = "uncertainty"
    FOOTPRINT = "footprint"
    FILLED = "filled"
