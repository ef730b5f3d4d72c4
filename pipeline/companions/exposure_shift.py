"""The shift between the pixel grids of two exposures, from the WCS of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.source import Source

if TYPE_CHECKING:
    from astropy.wcs import WCS

# Largest difference, in pixels, of a shift from a whole number: a quarter changes the pixels of a star of 2.5
# pixels (FWHM) by some 5 % of its peak, less than the seeing does.
MOST_LEFTOVER = 0.25
# Points along each axis at which the two grids are compared.
POINTS = 5


def whole_shift(first: Source, other: Source) -> tuple[int, int, float]:
    """The shift of an exposure against the first, in whole pixels.

    Returns
    -------
    dy, dx, leftover
        Pixel ``(y, x)`` of the first is ``(y + dy, x + dx)`` of the other, with an error of at most
        `leftover` pixels along an axis. Without a WCS in both, 0, 0, 0: they are assumed to share a grid.

    Raises
    ------
    UsageError
        If the shift is not one of whole pixels, or they have different sizes and no WCS.
    SourceError
        If a WCS cannot be used.
    """
    sky = [_sky(source) for source in (first, other)]
    if sky[0] is None or sky[1] is None:
        if first.shape[1:] != other.shape[1:]:
            raise UsageError(
                f"exposure {other.spec.path}: {other.shape[1]} x {other.shape[2]} pixels, "
                f"{first.spec.path} has {first.shape[1]} x {first.shape[2]}, and no WCS in both says how "
                "they lie; cut them to the same grid first"
            )
        return 0, 0, 0.0
    offsets = _offsets(sky[0], sky[1], first, other)
    shift = np.rint(np.median(offsets, 1))  # (2,): y, x
    leftover = float(np.abs(offsets - shift[:, None]).max())
    if leftover > MOST_LEFTOVER:
        middle = np.median(offsets, 1)
        raise UsageError(
            f"exposure {other.spec.path}: lies {middle[0]:.2f} rows and {middle[1]:.2f} columns from "
            f"{first.spec.path}, up to {leftover:.2f} pixels off whole ones, at most {MOST_LEFTOVER} are "
            "taken; resample it onto that grid first (reproject, SWarp)"
        )
    return int(shift[0]), int(shift[1]), leftover


def _sky(source: Source) -> WCS | None:
    """The celestial part of a source's WCS; None where it has none."""
    text = source.metadata.get("fits", {}).get("header")
    if not text:
        return None
    # imported here because it takes half a second
    from astropy.wcs import WCS

    from glassplate.pipeline.sources.fits.text import parsed

    with collected_warnings(source.spec.path):
        try:
            wcs = WCS(parsed(text))
        # astropy and wcslib raise a dozen kinds of error on malformed cards
        except Exception as error:
            raise SourceError(f"{source.spec.path}: its WCS cannot be used: {error}") from error
        return wcs.celestial if wcs.has_celestial else None


def _offsets(sky: WCS, other_sky: WCS, first: Source, other: Source) -> npt.NDArray[np.float64]:
    """Rows and columns, ``(2, n)``, from points of the first grid to the same sky on the other."""
    _, height, width = first.shape
    ys, xs = np.meshgrid(
        np.linspace(0, height - 1, POINTS), np.linspace(0, width - 1, POINTS), indexing="ij"
    )
    y, x = ys.ravel(), xs.ravel()
    with collected_warnings(other.spec.path):
        try:
            there: Any = other_sky.all_world2pix(*sky.all_pix2world(x, y, 0), 0)
        except Exception as error:
            raise SourceError(f"{other.spec.path}: its WCS cannot be used: {error}") from error
    offsets = np.stack([there[1] - y, there[0] - x])
    known = np.isfinite(offsets).all(0)
    if not known.any():
        raise UsageError(
            f"exposure {other.spec.path}: by its WCS it shows nothing of {first.spec.path}; drop it"
        )
    return np.asarray(offsets[:, known], np.float64)
