"""The profile of a star or a small galaxy in an image, at any part of a pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from glassplate.models.metrics import MAD_TO_SIGMA
from glassplate.models.operators.psf import Psf
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.scaling import Sample

FloatArray = npt.NDArray[np.float64]

# Half the side of the square that is cut around a star to measure the PSF, pixels.
CUT = 12
# Standard deviations above the sky of a star from which the PSF is measured.
BRIGHT = 20.0
# Mean of a peak's four neighbours over the peak: less is a cosmic ray or hot pixel, more a saturated star.
SHARPEST, FLATTEST = 0.2, 0.97
# Relative difference of that mean from the median of all stars: more is a galaxy or a blend.
MOST_DIFFERENT = 0.15
# Brightest pixel that a neighbour within the square may have, as a share of the star's peak.
MOST_NEIGHBOUR = 0.2
# Fewest stars, and most that are used. Of frames of 256 x 256 pixels, DECam ones have four.
FEWEST, MOST = 3, 50
# Widths (FWHM in pixels) and Moffat exponents that are tried; an exponent of 100 is a Gaussian.
WIDTHS = np.arange(1.2, 12.01, 0.1)
EXPONENTS = (1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 100.0)
# Half-light radius of the small galaxies in widths of the PSF, and their axis ratio.
GALAXY, AXIS_RATIO = 0.75, 0.7
# Points along a pixel over which a galaxy is integrated.
FINE = 5
# Largest half side of a profile, pixels.
MOST_HALF = 31


@dataclass(frozen=True, eq=False)
class Profile:
    """The light of a source of flux 1 in pixels."""

    centred: FloatArray
    """``(2 n + 1, 2 n + 1)``, sum 1, its centre in the middle pixel."""

    @property
    def half(self) -> int:
        """Half the side, without the middle pixel."""
        return len(self.centred) // 2

    def at(self, dy: float, dx: float, half: int | None = None) -> FloatArray:
        """The profile moved by parts of a pixel, or its middle ``(2 half + 1, 2 half + 1)``.

        It is moved in the Fourier domain, which is exact for a profile that the pixels sample well.
        """
        return _cut(_moved(self.centred, dy, dx), half)

    def derivative_of_width(self, dy: float, dx: float, half: int) -> FloatArray:
        """Derivative of `at` when the profile is stretched, for the stretch 1; its sum is 0."""
        moved = _moved(self.centred, dy, dx)
        t = np.arange(-self.half, self.half + 1)
        slope_y, slope_x = np.gradient(moved)
        return _cut(-(2 * moved + (t[:, None] - dy) * slope_y + (t - dx) * slope_x), half)


def _moved(values: FloatArray, dy: float, dx: float) -> FloatArray:
    side = len(values)
    wide = np.pad(values, side // 2)  # so that nothing returns on the other side
    phase_y, phase_x = (
        np.exp(-2j * np.pi * np.fft.fftfreq(len(wide)) * shift) for shift in (dy, dx)
    )
    moved = np.fft.ifft2(np.fft.fft2(wide) * phase_y[:, None] * phase_x).real
    start = side // 2
    return np.ascontiguousarray(moved[start : start + side, start : start + side])


def _cut(values: FloatArray, half: int | None) -> FloatArray:
    m = len(values) // 2
    if half is None or half >= m:
        return values
    return values[m - half : m + half + 1, m - half : m + half + 1]


@dataclass(frozen=True, eq=False)
class PointSpread:
    """The point-spread function of an image."""

    star: Profile
    fwhm: float
    """Full width at half maximum, pixels."""

    @property
    def measured_half(self) -> int:
        """Half the side of the square in which a source is measured, pixels."""
        return max(5, min(15, math.ceil(1.75 * self.fwhm) + 1))

    def galaxy(self, angle: float) -> Profile:
        """An inclined exponential disk of `GALAXY` widths half-light radius, as the image shows it."""
        half = self.star.half
        # half of the light of an exponential disk is within 1.678 scale lengths
        length = GALAXY * self.fwhm / 1.678
        t = (np.arange((2 * half + 1) * FINE) - ((2 * half + 1) * FINE - 1) / 2) / FINE
        along = t[:, None] * math.cos(angle) + t * math.sin(angle)
        across = t * math.cos(angle) - t[:, None] * math.sin(angle)
        disk = np.exp(-np.hypot(along, across / AXIS_RATIO) / length)
        side = 2 * half + 1
        pixels = disk.reshape(side, FINE, side, FINE).mean((1, 3))
        return Profile(_convolved(pixels / pixels.sum(), self.star.centred))


def _convolved(first: FloatArray, second: FloatArray) -> FloatArray:
    """Convolution of two centred squares, cut to the first and normalised."""
    side = len(first)
    wide = 2 * side
    product = np.fft.rfft2(first, (wide, wide)) * np.fft.rfft2(second, (wide, wide))
    start = len(second) // 2
    full = np.fft.irfft2(product, (wide, wide))[start : start + side, start : start + side]
    return np.asarray(full / full.sum(), np.float64)


def moffat(half: int, fwhm: float, exponent: float) -> FloatArray:
    """A Moffat profile of sum 1, ``(2 half + 1, 2 half + 1)``; an exponent of 100 is nearly a Gaussian."""
    t = np.arange(-half, half + 1)
    core = fwhm / (2 * math.sqrt(2 ** (1 / exponent) - 1))
    values = (1 + (t[:, None] ** 2 + t**2) / core**2) ** -exponent
    return np.asarray(values / values.sum(), np.float64)


def given_psf(psf: Psf) -> PointSpread:
    """The point-spread function that a user gives."""
    values = psf.values()
    half = min(max(values.shape) // 2, MOST_HALF)
    square = np.zeros((2 * half + 1, 2 * half + 1))
    h, w = (min(side // 2, half) for side in values.shape)
    y, x = values.shape[0] // 2, values.shape[1] // 2
    square[half - h : half + h + 1, half - w : half + w + 1] = values[
        y - h : y + h + 1, x - w : x + w + 1
    ]
    fwhm, _ = _fitted(square)
    return _roomy(square, fwhm)


def measured_psf(samples: Sequence[Sample], name: str) -> PointSpread:
    """Measure the point-spread function of an image from its bright single stars, as a Moffat profile.

    Parameters
    ----------
    samples
        Windows of the image with their valid maps, ``(c, h, w)``; the first plane is used.
    name
        Of the image, for the message.

    Raises
    ------
    UsageError
        If there are fewer than `FEWEST` such stars.
    """
    stars = _stars(samples)
    if len(stars) < FEWEST:
        raise UsageError(
            f"{name}: {len(stars)} bright single stars were found, at least {FEWEST} are needed to measure "
            "the point-spread function; give it with --psf FILE"
        )
    fwhm, exponent = _fitted(np.median(stars, axis=0))
    half = min(MOST_HALF, max(CUT, math.ceil(3.5 * fwhm)))
    return _roomy(moffat(half, fwhm, exponent), fwhm)


def _roomy(values: FloatArray, fwhm: float) -> PointSpread:
    """A point-spread function with room for a galaxy and for moving it."""
    wanted = min(MOST_HALF, max(CUT, math.ceil(3.5 * fwhm)))
    values = np.pad(values, max(0, wanted - len(values) // 2))
    return PointSpread(Profile(values / values.sum()), fwhm)


def _stars(samples: Sequence[Sample]) -> list[FloatArray]:
    """Squares around the bright single stars, moved to the middle and of sum 1; at most `MOST`."""
    found: list[tuple[float, float, FloatArray]] = []
    for values, valid in samples:
        found += _stars_of(np.where(valid[0], values[0], np.nan).astype(np.float64))
    if not found:
        return []
    usual = float(np.median([shape for _, shape, _ in found]))
    like = [one for one in found if abs(one[1] - usual) <= MOST_DIFFERENT * usual]
    like.sort(key=lambda one: -one[0])
    return [_centred(square) for _, _, square in like[:MOST]]


def _stars_of(plane: FloatArray) -> list[tuple[float, float, FloatArray]]:
    """Brightness, neighbours over peak, and square above its surroundings of each star of a plane."""
    side = 2 * CUT + 1
    if min(plane.shape) < side or not np.isfinite(plane).any():
        return []
    sky = float(np.nanmedian(plane))
    sigma = MAD_TO_SIGMA * float(np.nanmedian(np.abs(plane - sky)))
    inner = sliding_window_view(plane, (5, 5))[CUT - 2 : -(CUT - 2), CUT - 2 : -(CUT - 2)]
    centre = plane[CUT:-CUT, CUT:-CUT]
    peaks = np.argwhere((centre == inner.max((-2, -1))) & (centre > sky + BRIGHT * sigma))
    found = []
    for y, x in peaks:
        square = plane[y : y + side, x : x + side]
        ring = np.concatenate([square[:2].ravel(), square[-2:].ravel(), square[:, :2].ravel()])
        level = float(np.median(ring))
        peak = float(square[CUT, CUT]) - level
        if not np.isfinite(square).all() or peak < BRIGHT * sigma:
            continue
        around = square[[CUT - 1, CUT + 1, CUT, CUT], [CUT, CUT, CUT - 1, CUT + 1]]
        shape = float(around.mean() - level) / peak
        far = _beyond(square, CUT // 2)
        if SHARPEST < shape < FLATTEST and far.max() - level < MOST_NEIGHBOUR * peak:
            found.append((peak, shape, square - level))
    return found


def _beyond(square: FloatArray, radius: int) -> FloatArray:
    t = np.arange(len(square)) - len(square) // 2
    far: FloatArray = square[np.hypot(t[:, None], t) > radius]
    return far


def _centred(square: FloatArray) -> FloatArray:
    """A star moved to the middle of its square by the centroid of its bright pixels, of sum 1."""
    t = np.arange(len(square)) - CUT
    # half of the light is within a radius of half the width
    bright = np.where(square > 0.3 * square.max(), square, 0)
    bright[np.hypot(t[:, None], t) > CUT // 2] = 0
    total = bright.sum()
    dy, dx = float(bright.sum(1) @ t) / total, float(bright.sum(0) @ t) / total
    moved = _moved(square, -dy, -dx)
    light = moved[np.hypot(t[:, None], t) <= CUT // 2].sum()
    return np.asarray(moved / light, np.float64)


def _fitted(star: FloatArray) -> tuple[float, float]:
    """Width (FWHM, pixels) and exponent of the Moffat profile that fits a star on a level best."""
    half = len(star) // 2
    best = (math.inf, WIDTHS[0], EXPONENTS[0])
    flat = star.ravel()
    for exponent in EXPONENTS:
        for fwhm in WIDTHS:
            terms = np.stack([moffat(half, float(fwhm), exponent).ravel(), np.ones(flat.size)], 1)
            left = flat - terms @ np.linalg.lstsq(terms, flat, rcond=None)[0]
            best = min(best, (float(left @ left), float(fwhm), exponent))
    return best[1], best[2]
