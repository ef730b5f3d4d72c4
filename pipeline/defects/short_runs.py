"""Short runs of pixels along rows or columns that fall off at both ends at once: sharper than any star."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

# Standard deviations of the noise that the neighbours of a run are granted in any case.
GRANTED = 5.0


@dataclass(frozen=True)
class Sharpness:
    """Which runs are meant."""

    narrow: int
    """Most pixels of a run; at the border of the image, where it has one neighbour only, one."""
    even: int
    """Most pixels of a run whose values are all the same."""
    share: float
    """Of the height of a run that its neighbours reach at most."""


@dataclass(frozen=True)
class Heights:
    """One plane, ``(h, w)`` each."""

    high: FloatArray
    """Height above what is usual, in standard deviations of the noise."""
    seen: BoolArray
    """Runs are made of these pixels."""
    known: BoolArray
    """Only such pixels can bound a run."""

    @property
    def turned(self) -> Heights:
        """Columns as rows."""
        return Heights(self.high.T, self.seen.T, self.known.T)


def sharp_runs(
    plane: Heights, sharpness: Sharpness, whole: tuple[bool, bool, bool, bool]
) -> BoolArray:
    """Pixels of sharp runs along rows or columns, ``(h, w)``.

    Parameters
    ----------
    plane
        What is examined.
    sharpness
        What a sharp run is.
    whole
        Whether there is nothing beyond the first row, the last row, the first column and the last column; a
        run that ends at any other border is none.
    """
    along_rows = _along_rows(plane, sharpness, whole[2:])
    return along_rows | _along_rows(plane.turned, sharpness, whole[:2]).T


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
    # a star cut off by the border may have two bright pixels
    narrow = after - first <= np.where(at_border, 1, sharpness.narrow)
    even = (after - first <= sharpness.even) & (low == top)
    most = np.maximum(sharpness.share * low, GRANTED)
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
    # the gaps between runs are reduced, too, and left out
    bounds = (rows[:, None] * (high.shape[1] + 1) + np.stack([first, after], 1)).ravel()
    return np.minimum.reduceat(flat, bounds)[::2], np.maximum.reduceat(flat, bounds)[::2]


def _is_low(
    plane: Heights, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp], most: FloatArray
) -> BoolArray:
    """Whether each pixel is known and no higher than `most`; of columns beyond the border anything."""
    columns = columns.clip(0, plane.high.shape[1] - 1)
    return plane.known[rows, columns] & (plane.high[rows, columns] <= most)
