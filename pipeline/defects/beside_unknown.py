"""Which pixels beside a border or an invalid pixel can be told from the rest of a star that is cut there."""

from __future__ import annotations

import numpy as np

from glassplate.pipeline.defects.medians import BoolArray, FloatArray, dilate, lowest_around

# Pixels around an unknown one in which a ray must be seen to end. Where masks of many shapes cut made stars
# of 3 pixels' width (FWHM) and more, L.A.Cosmic takes pixels that are two pixels away from an unknown one for
# rays, and grows from there; none of them does so with this.
NEAR = 2
# Largest height of the pixels beside a ray, as a share of its own. Two pixels on both sides of the peak of a
# Gaussian star of 2 pixels' width have 0.25 beside them, one pixel has 0.5; wider stars have more, and wings
# add to it.
BESIDE = 0.2
# Distances of the known low pixels before and after a pixel of a ray: it is one or two pixels wide.
ENDS = ((1, 1), (1, 2), (2, 1))
# Half-width of the square whose lowest pixel is the level from which heights are counted.
FLOOR = 2


def not_judged(values: FloatArray, known: BoolArray) -> BoolArray:
    """Unknown pixels, and those near them that may be part of a star.

    Beyond a border or an invalid pixel a star may go on, so that its slopes look like those of a ray. A pixel
    near it can be judged if known pixels on both sides of it, along the row or the column, are much
    lower; and so can the pixels that touch such a pixel and are no brighter.

    Parameters
    ----------
    values
        ``(h, w)``, surrounded by unknown pixels, at least two on each side; finite.
    known
        ``(h, w)``.

    Returns
    -------
    ``(h, w)``.
    """
    near = dilate(~known, NEAR) & known
    ends = np.where(_falls_off(values, known) & near, values, np.float32(-np.inf))
    return ~known | (near & (values > -lowest_around(-ends, 1)))


def _falls_off(values: FloatArray, known: BoolArray) -> BoolArray:
    """Pixels with known ones on both sides, along the row or the column, that are low."""
    seen = np.where(known, values, np.float32(np.inf))
    lowest = lowest_around(seen, FLOOR)
    # all around may be unknown
    lowest = np.where(np.isfinite(lowest), lowest, np.float32(0))
    limit = lowest + BESIDE * (values - lowest)
    found = np.zeros(known.shape, bool)
    for axis in (0, 1):
        # what rolls in from the other side is unknown
        for before, after in ENDS:
            sides = np.maximum(np.roll(seen, before, axis), np.roll(seen, -after, axis))
            low = sides < limit
            if before == 2:
                low &= np.roll(known, 1, axis)
            if after == 2:
                low &= np.roll(known, -1, axis)
            found |= low
    return found & known
