"""Fluxes by a fit of a known profile and a level, at one place or at every place of an image.

The level is that of the square itself, so that what lies under a source is subtracted in the same way in an
input and in its restoration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from glassplate.models.metrics import MAD_TO_SIGMA

FloatArray = npt.NDArray[np.float64]

# Largest distance of two peaks of equal neighbours, pixels along an axis.
TOUCHING = 1.5


def fitted_flux(square: FloatArray, profile: FloatArray) -> float:
    """Flux of a source by a least-squares fit of its profile and a level.

    Parameters
    ----------
    square
        Pixels around the source, ``(n, n)``.
    profile
        Light of a source of flux 1 in them, ``(n, n)``.
    """
    return float(_fit(square, profile)[0])


def fitted_stretch(square: FloatArray, profile: FloatArray, stretching: FloatArray) -> float:
    """Flux times the relative excess of the width of a source over that of its profile.

    `stretching` is the derivative of the profile by its width. The sum over sources divided by the sum of
    their fluxes is the relative excess of their mean width, for small ones.
    """
    return float(_fit(square, profile, stretching)[1])


def _fit(square: FloatArray, *terms: FloatArray) -> FloatArray:
    matrix = np.stack([*(term.ravel() for term in terms), np.ones(square.size)], 1)
    return np.asarray(np.linalg.lstsq(matrix, square.ravel(), rcond=None)[0], np.float64)


def flux_map(image: FloatArray, profile: FloatArray) -> FloatArray:
    """`fitted_flux` at every place where the whole square lies in the image.

    Parameters
    ----------
    image
        ``(h, w)``; NaN invalid.
    profile
        ``(n, n)`` with n odd.

    Returns
    -------
    fluxes
        ``(h - n + 1, w - n + 1)``; NaN where a pixel of the square is invalid. Its first value is that of the
        square in the image's first corner.
    """
    kernel = profile - profile.mean()
    kernel /= (kernel * profile).sum()
    known = np.isfinite(image)
    level = float(np.median(image[known])) if known.any() else 0.0
    filled = np.where(known, image - level, 0)
    n = len(profile)
    shape = tuple(size + n - 1 for size in image.shape)
    product = np.fft.rfft2(filled, shape) * np.fft.rfft2(kernel[::-1, ::-1], shape)
    found: FloatArray = np.fft.irfft2(product, shape)[
        n - 1 : image.shape[0], n - 1 : image.shape[1]
    ]
    if not known.all():
        found[~_all_known(known, n)] = np.nan
    return found


def _all_known(known: npt.NDArray[np.bool_], n: int) -> npt.NDArray[np.bool_]:
    rows = sliding_window_view(known, n, axis=0).all(-1)
    return np.asarray(sliding_window_view(rows, n, axis=1).all(-1), np.bool_)


def scatter(values: FloatArray) -> float:
    """Robust standard deviation of the values that are no NaN: 1.4826 times the median absolute deviation."""
    known = values[np.isfinite(values)]
    if not known.size:
        return float("nan")
    return float(MAD_TO_SIGMA * np.median(np.abs(known - np.median(known))))


@dataclass(frozen=True)
class Peak:
    """A local maximum of a flux map."""

    dy: float
    """From the middle of the map, pixels, to a part of a pixel."""
    dx: float
    flux: float


def peaks(fluxes: FloatArray, threshold: float) -> list[Peak]:
    """Local maxima of a flux map ``(2 n + 1, 2 n + 1)`` above a threshold, brightest first.

    Those on its border are left out.
    """
    squares = sliding_window_view(fluxes, (3, 3))
    inner = fluxes[1:-1, 1:-1]
    high = (inner > threshold) & (inner == squares.max((-2, -1)))
    middle = np.array(fluxes.shape) // 2
    found = []
    for y, x in np.argwhere(high) + 1:
        dy = _vertex(fluxes[y - 1 : y + 2, x])
        dx = _vertex(fluxes[y, x - 1 : x + 2])
        place = float(y - middle[0] + dy), float(x - middle[1] + dx)
        found.append(Peak(*place, float(fluxes[y, x])))
    return _apart(sorted(found, key=lambda peak: -peak.flux))


def _apart(found: list[Peak]) -> list[Peak]:
    """Peaks without those that touch a brighter one: of a plateau, one is left."""
    kept: list[Peak] = []
    for peak in found:
        if all(max(abs(peak.dy - one.dy), abs(peak.dx - one.dx)) > TOUCHING for one in kept):
            kept.append(peak)
    return kept


def _vertex(values: FloatArray) -> float:
    """Where the parabola through three values has its vertex, from the middle one."""
    before, middle, after = (float(value) for value in values)
    bend = before - 2 * middle + after
    return 0.5 * (before - after) / bend if bend < 0 else 0.0
