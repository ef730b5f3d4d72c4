"""Short runs of high pixels along rows or columns with sharp ends, sharper than any star."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

# Share of what the neighbour of a run may have elsewhere, where the other end is the border of the image. A
# Gaussian star of 2 pixels' width (FWHM) whose centre is three pixels beyond it has 0.8 % of its first row in
# its second; one with 0.1 % would be too far away to be seen.
CUT = 0.1
# Standard deviations of the noise that the neighbours of a run may reach in any case.
ALLOWED = 5.0


@dataclass(frozen=True)
class Sharpness:
    """Which runs are sharp."""

    narrow: int
    """Largest length of a run in pixels; at the border of the image, where it has one neighbour, 1."""
    even: int
    """Largest length of a run whose values are all the same."""
    share: float
    """Largest height of the neighbours of a run, as a share of its height; at the border `CUT` times that."""


@dataclass(frozen=True)
class Heights:
    """One plane; all arrays are ``(h, w)``."""

    high: FloatArray
    """Height above the usual level, in standard deviations of the noise."""
    seen: BoolArray
    """Pixels that form runs."""
    known: BoolArray
    """Pixels that may end a run."""

    @property
    def transposed(self) -> Heights:
        """The plane with rows and columns exchanged."""
        return Heights(self.high.T, self.seen.T, self.known.T)


def sharp_runs(
    plane: Heights, sharpness: Sharpness, whole: tuple[bool, bool, bool, bool]
) -> BoolArray:
    """Pixels of sharp runs along rows or columns, ``(h, w)``.

    Parameters
    ----------
    plane
        The plane to examine.
    sharpness
        What a sharp run is.
    whole
        Whether the first row, the last row, the first column and the last column are borders of the image; a
        run that ends at any other border is not sharp.
    """
    along_rows = _along_rows(plane, sharpness, whole[2:])
    return along_rows | _along_rows(plane.transposed, sharpness, whole[:2]).T


def _along_rows(plane: Heights, sharpness: Sharpness, whole: tuple[bool, ...]) -> BoolArray:
    found = np.zeros(plane.seen.shape, bool)
    edges = np.diff(np.pad(plane.seen, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, first = np.nonzero(edges == 1)
    _, after = np.nonzero(edges == -1)
    if not rows.size:
        return found
    width = plane.seen.shape[1]
    low, top = _extremes(plane.high, rows, first, after)
    at_border = (first == 0) & whole[0] | (after == width) & whole[1]
    # a star that is cut by the border may have two bright pixels
    narrow = after - first <= np.where(at_border, 1, sharpness.narrow)
    even = (after - first <= sharpness.even) & (low == top)
    most = np.maximum(np.where(at_border, CUT, 1) * sharpness.share * low, ALLOWED)
    left = np.where(first == 0, whole[0], _is_low(plane, rows, first - 1, most))
    right = np.where(after == width, whole[1], _is_low(plane, rows, after, most))
    for row, start, end in np.stack([rows, first, after], 1)[(narrow | even) & left & right]:
        found[row, start:end] = True
    return found


def _extremes(
    high: FloatArray,
    rows: npt.NDArray[np.intp],
    first: npt.NDArray[np.intp],
    after: npt.NDArray[np.intp],
) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest pixel of each run."""
    flat = np.pad(high, ((0, 0), (0, 1))).ravel()
    # the gaps between the runs are reduced as well, and dropped
    bounds = (rows[:, None] * (high.shape[1] + 1) + np.stack([first, after], 1)).ravel()
    return np.minimum.reduceat(flat, bounds)[::2], np.maximum.reduceat(flat, bounds)[::2]


def _is_low(
    plane: Heights, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp], most: FloatArray
) -> BoolArray:
    """Whether each pixel is known and no higher than `most`; arbitrary for columns beyond the border."""
    columns = columns.clip(0, plane.high.shape[1] - 1)
    return plane.known[rows, columns] & (plane.high[rows, columns] <= most)
