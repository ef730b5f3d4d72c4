"""The power spectrum of correlated noise, from squares that are flat at all frequencies."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from glassplate.models.noise.spectra import BoolArray, FloatArray, flattest

# Distance from the origin of the frequencies, in coefficients, from which the spectrum is measured. Below are
# the mean of a square and its gradients, which every image has.
LOWEST_RADIUS = 1.5
# Width of the ring from which the power of those below is extrapolated, and the most that it may grow.
RING, MOST_GROWTH = 2.0, 8.0
# Share of the places that give the spectrum, and the least number of them. With 1 and 5 %, the mean sigma on
# photographs of PolyU is within 5 %, a single one within 30 %.
FLAT_SHARE, FLAT_LEAST = 0.02, 24
# Rounds of choosing places by the spectrum, and the spectrum by places.
ROUNDS = 6
# Energy of a chosen place in the half that is measured, in units of the median of the chosen, from which the
# place is an outlier: structure that is symmetric about a square's middle is in one half alone, so that the
# other half calls the place flat. Shutters and flowers (kodim07) with grain of 4 levels: the brightness is
# found at 2.5 times its noise with outliers, and at 1.2 times without.
OUTLIER = 1.3

# Frequencies at which a spectrum is told, cycles a pixel: those of the coefficients of squares of 8 pixels,
# up to waves that change their sign from pixel to pixel.
FREQUENCIES = tuple(step / 16 for step in range(1, 9))


def flat_count(places: int) -> int:
    """Number of the flattest of some places in which noise is measured."""
    return min(max(int(FLAT_SHARE * places), FLAT_LEAST), places)


def noise_spectrum(places: npt.NDArray[np.floating], planes: int | None = None) -> FloatArray:
    """Find the spectrum of the noise from the flattest of some places.

    Each half of the coefficients is measured where the other half is weak, so that the choice does not bias
    it.

    Parameters
    ----------
    places
        ``(n, side * side)``, energy of the cosine coefficients of each; `n` must be at least 1.
    planes
        Number of independent planes over which the energies are averaged, to leave out places whose measured
        half is an `OUTLIER`. None to leave out nothing: in a JPEG, places without high frequencies are many
        and are no measure of the others.

    Returns
    -------
    ``(side * side,)``, energy of each coefficient of the noise.
    """
    side = math.isqrt(places.shape[1])
    radius = radius_of(side)
    ring = (radius >= LOWEST_RADIUS) & (radius < LOWEST_RADIUS + RING)
    count = flat_count(len(places))
    spectrum = _positive(np.median(places, 0).astype(np.float64))
    for _ in range(ROUNDS):
        found = np.zeros_like(spectrum)
        for half in checkerboard(side):
            chosen = places[flattest(flatness(places, spectrum, half), count)]
            measured = ~half & (radius >= LOWEST_RADIUS)
            kept, share = _without_outliers(chosen, spectrum, measured, planes)
            found[~half] = kept.mean(0, dtype=np.float64)[~half] / share
        spectrum = _smooth(_positive(found).reshape(side, side)).ravel()
        low = radius < LOWEST_RADIUS
        spectrum[low] = _extrapolated(radius[ring], spectrum[ring], radius[low])
    return spectrum


def _without_outliers(
    chosen: npt.NDArray[np.floating], spectrum: FloatArray, measured: BoolArray, planes: int | None
) -> tuple[npt.NDArray[np.floating], float]:
    """Leave out chosen places that are not flat, and say which share of its energy noise alone keeps."""
    if planes is None:
        return chosen, 1.0
    score = flatness(chosen, spectrum, measured)
    # the score of noise alone is nearly normal, with this standard deviation
    scatter = math.sqrt(2 / (measured.sum() * planes))
    limit = (OUTLIER - 1) / scatter
    below = 0.5 * (1 + math.erf(limit / math.sqrt(2)))
    density = math.exp(-(limit**2) / 2) / math.sqrt(2 * math.pi)
    return chosen[score <= OUTLIER * np.median(score)], 1 - scatter * density / below


def _extrapolated(radius: FloatArray, power: FloatArray, below: FloatArray) -> FloatArray:
    """Power at the radii `below` if its logarithm is a parabola, as that of a Gaussian filter is."""
    slope, start = np.polyfit(radius**2, np.log(power), 1)
    mean = power.mean()
    return np.asarray(np.exp(start + slope * below**2).clip(mean, MOST_GROWTH * mean))


def flatness(places: npt.NDArray[np.floating], spectrum: FloatArray, half: BoolArray) -> FloatArray:
    """Mean energy of half of the coefficients of each place in units of a spectrum, ``(n,)``.

    It is about 1 where there is nothing but noise. The mean of a square does not count.
    """
    judged = half & (radius_of(math.isqrt(len(half))) > 0)
    weight = (judged / np.where(judged, spectrum, 1) / judged.sum()).astype(places.dtype)
    return np.asarray(places @ weight, np.float64)


def checkerboard(side: int) -> tuple[BoolArray, BoolArray]:
    """Two halves of a square's coefficients, like the fields of a chessboard; each ``(side * side,)``."""
    k = np.arange(side)
    even = (np.add.outer(k, k) % 2 == 0).ravel()
    return even, ~even


def radius_of(side: int) -> FloatArray:
    """Distance of each coefficient from the origin of the frequencies, ``(side * side,)``."""
    k = np.arange(side, dtype=np.float64)
    return np.asarray(np.hypot.outer(k, k).ravel())


def power_by_frequency(spectrum: FloatArray) -> tuple[float, ...]:
    """Mean power of a spectrum in a ring around each of `FREQUENCIES`, in units of its mean power.

    White noise has 1 everywhere. Rings are as wide as the frequencies are apart, and go around the origin, so
    that the directions are averaged.
    """
    side = math.isqrt(len(spectrum))
    frequency = radius_of(side) / (2 * side)
    step = FREQUENCIES[1] - FREQUENCIES[0]
    rings = [np.abs(frequency - middle) <= step / 2 for middle in FREQUENCIES]
    return tuple(float(f"{spectrum[ring].mean() / spectrum.mean():.4g}") for ring in rings)


def _smooth(power: FloatArray) -> FloatArray:
    """Geometric mean of 3x3 coefficients, borders repeated: a steep spectrum stays as steep."""
    wide = np.pad(np.log(power), 1, mode="edge")
    views = np.lib.stride_tricks.sliding_window_view(wide, (3, 3))
    return np.asarray(np.exp(views.mean((-1, -2))))


def _positive(spectrum: FloatArray) -> FloatArray:
    """Lift powers that are 0, which no noise has, to a small share of the strongest.

    The power of the mean of a square, the first, is that of the image's level.
    """
    strongest = float(spectrum[1:].max())
    return np.maximum(spectrum, max(1e-6 * strongest, np.finfo(np.float64).tiny))
