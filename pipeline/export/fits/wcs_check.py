"""Compares the sky positions of an exported header with those of the input's header."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from glassplate.pipeline.export.fits.tables import table_keywords
from glassplate.pipeline.reader_warnings import collected_warnings


def wcs_disagreement(before: fits.Header, after: fits.Header, scale: float) -> float | None:
    """Return the largest distance between old and new sky positions, in pixels of the new grid.

    Parameters
    ----------
    before
        Header of the input.
    after
        Header for pixels `scale` times finer.
    scale
        Below 1 for coarser pixels.

    Returns
    -------
    distance
        Over a grid of 7 x 7 positions that includes the corners of the image. None if the header has no
        WCS, or one that astropy cannot evaluate.
    """
    width, height = before.get("NAXIS1", 0), before.get("NAXIS2", 0)
    if not ("CTYPE1" in before or "CTYPE2" in before) or min(width, height) < 1:
        return None
    x, y = (
        g.ravel() for g in np.meshgrid(np.linspace(0, width - 1, 7), np.linspace(0, height - 1, 7))
    )
    new_x, new_y = scale * (x + 0.5) - 0.5, scale * (y + 0.5) - 0.5
    with collected_warnings("WCS check"), np.errstate(all="ignore"):
        # wcslib raises many kinds of error. A header that it refuses is exported without this check
        try:
            old, new = WCS(_without_tables(before)), WCS(_without_tables(after))
            there, here = _world(old, x, y), _world(new, new_x, new_y)
            step_x, step_y = _world(new, new_x + 1, new_y), _world(new, new_x, new_y + 1)
        except Exception:
            return None
    jacobian = np.stack([_turn(step_x - here), _turn(step_y - here)], axis=2)  # (n, world, 2)
    shift = _turn(there - here)  # (n, world)
    usable = np.isfinite(jacobian).all(axis=(1, 2)) & np.isfinite(shift).all(axis=1)
    distances = [
        float(np.linalg.norm(np.linalg.lstsq(j, d, rcond=None)[0]))
        for j, d in zip(jacobian[usable], shift[usable], strict=True)
    ]
    return max(distances, default=None)


def _without_tables(header: fits.Header) -> fits.Header:
    """Copy a header without the records of lookup tables, which astropy would look for."""
    plain, tables = header.copy(), table_keywords(header)
    for key in {key for key in header if key.partition(".")[0] in tables}:
        plain.remove(key, remove_all=True)
    return plain


def _world(wcs: WCS, x: Any, y: Any) -> Any:
    """Return world coordinates ``(n, axes)`` of pixels ``(n,)`` of the first plane."""
    others = np.zeros((len(x), wcs.naxis - 2))
    return np.asarray(wcs.all_pix2world(np.column_stack([x, y, others]), 0))


def _turn(difference: Any) -> Any:
    """Map differences of angles to -180 to 180 degrees. Differences of other coordinates are small anyway."""
    return (difference + 180) % 360 - 180
