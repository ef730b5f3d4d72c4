"""The user's point-spread function: read, checked and normalised to a sum of 1."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from glassplate.models.operators.psf import Psf
from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.sources.open_image import open_named
from glassplate.pipeline.tile_grid import Box

# Longest side that is read; a larger image is given by mistake (this one takes 8 MiB as float64).
MOST_SIDE = 1023
# Negative values down to this share of the peak are rounding errors of float32 or of an FFT.
ROUNDING = 1e-6
# Difference of the sum from 1 above which a warning is given.
SUM_TOLERANCE = 0.01
# Largest distance of the centroid from the centre of the middle pixel along an axis, in pixels; a larger one
# would visibly displace the result.
MOST_OFFSET = 0.5


@dataclass(frozen=True)
class ReadPsf:
    """A PSF, and what is odd about its file."""

    psf: Psf
    warnings: tuple[str, ...]
    """What the user should know about it, one line each."""


def read_psf(named: Path) -> ReadPsf:
    """Read a PSF from a FITS or TIFF image, which may be named with its extension: ``psf.fits[PSF]``.

    Raises
    ------
    SourceError
        If it cannot be read, or it is not a PSF: it is not two-dimensional or not finite, a side is even or
        too long, a value or the sum is negative, or its centroid is not in the middle.
    """
    values = _pixels(named)
    height, width = values.shape
    if values.min() < -ROUNDING * values.max():
        raise SourceError(
            f"psf {named}: its least value {values.min():g} is negative (peak {values.max():g}); "
            "subtract its background and set what is below 0 to 0"
        )
    values = values.clip(min=0)
    total = float(values.sum())
    if not total > 0:
        raise SourceError(f"psf {named}: its sum is {total:g}, must be positive")
    dy, dx = _offset(values / total)
    if max(abs(dy), abs(dx)) > MOST_OFFSET:
        raise SourceError(
            f"psf {named}: its centroid lies {dy:+.2f} rows and {dx:+.2f} columns from the middle "
            f"pixel ({height // 2}, {width // 2}), at most {MOST_OFFSET:g} are allowed; it would move "
            "every star, so centre it first"
        )
    warnings: tuple[str, ...] = ()
    if abs(total - 1) > SUM_TOLERANCE:
        warnings = (f"psf {named}: its sum is {total:g}, not 1; it is divided by it",)
    return ReadPsf(Psf.of(values), warnings)


def _pixels(named: Path) -> npt.NDArray[np.float64]:
    """Pixels of an image, ``(h, w)``, whose shape may be that of a PSF and which are all finite."""
    source = open_named(named, "psf")
    try:
        channels, height, width = source.shape
        if channels != 1:
            raise SourceError(
                f"psf {named}: shape {source.shape} is not two-dimensional; take one plane of it"
            )
        if max(height, width) > MOST_SIDE:
            raise SourceError(
                f"psf {named}: {height} x {width} pixels, at most {MOST_SIDE} along a side are "
                "read; cut it to where it is bright"
            )
        if height % 2 == 0 or width % 2 == 0:
            raise SourceError(
                f"psf {named}: {height} x {width} pixels; both sides must be odd, so that one pixel is "
                f"the middle: resample it onto {height | 1} x {width | 1}, or cut a row or column if "
                "that puts its peak in the middle"
            )
        pixels = source.read(Box(0, height, 0, width))
    finally:
        source.close()
    bad = int((~pixels.valid).sum())
    if bad:
        raise SourceError(
            f"psf {named}: {bad} of {height * width} pixels are NaN or BLANK; set them to 0"
        )
    values: npt.NDArray[np.float64] = pixels.values[0].astype(np.float64)
    return values


def _offset(psf: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Centroid of a PSF ``(h, w)`` of sum 1, in pixels from the middle, along rows and columns."""
    height, width = psf.shape
    y = np.arange(height) - height // 2
    x = np.arange(width) - width // 2
    return float(psf.sum(1) @ y), float(psf.sum(0) @ x)
