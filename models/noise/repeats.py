"""Patterns that repeat, such as brick, weave and halftone: subtracted from themselves, they leave the noise.

The second difference of an image, taken over whole periods, has nothing of the pattern and all of the noise,
which is independent from one period to the next. Flat places need not exist. A period need not be a whole
number of pixels: what the first difference leaves for that, the second mostly cancels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from glassplate.models.noise.clipping import without_clipped
from glassplate.models.noise.spectra import BoolArray, FloatArray, Sample

# Least shift, pixels: further than noise is correlated.
LEAST_SHIFT = 12
# Least side of a window in which a pattern is looked for, pixels. Noise with grains of a Gaussian of 2 pixels
# reaches a correlation of 0.2 by chance in windows of 128.
LEAST_SIDE = 96
# Correlation of a window with itself, moved, from which it has a pattern: it is stronger than the noise.
REPEATED = 0.5
# Least sine of the angle between two such shifts.
ASIDE = 0.5
# Share of the windows that must have a pattern; if fewer have one, there are others to measure.
PATTERNED = 0.5
# Widths of the Gaussian means between which the pattern is looked for, in pixels: coarser structure is like
# itself at any shift.
FINE, COARSE = 0.7, 4.0
# Share of the largest value up to which a difference is rounding.
EXACT = 1e-10
# Share of a side that a shift may be at most: two of them must leave some of the window.
LONGEST = 0.3
# Deviations from the median beyond which a value counts no more: a few strong edges are no pattern.
MOST_DEVIATIONS = 3.0


def without_repeats(samples: Sequence[Sample]) -> list[Sample] | None:
    """Replace each window that has a repeating pattern by its second difference over the period.

    Parameters
    ----------
    samples
        Windows of the image: finite values ``(c, h, w)`` in source units, and their valid map.

    Returns
    -------
    The windows, those with a pattern as second differences over the root of six, which have the noise of the
    image about 0; None where fewer than half of the windows have a pattern.
    """
    shifts = [_shift(values, valid) for values, valid in samples]
    if sum(shift is not None for shift in shifts) < max(PATTERNED * len(shifts), 1):
        return None
    unclipped = without_clipped(samples)
    return [
        one if shift is None else _difference(*one, shift)
        for one, shift in zip(unclipped, shifts, strict=True)
    ]


def _difference(values: FloatArray, valid: BoolArray, shift: tuple[int, int]) -> Sample:
    """Second difference of a window along a shift down, and to the right or left."""
    down, right = shift
    if right < 0:  # mirrored, the shift is to the right
        mirrored, known = _difference(values[..., ::-1], valid[..., ::-1], (down, -right))
        return mirrored[..., ::-1], known[..., ::-1]
    height, width = (n - 2 * by for n, by in zip(values.shape[1:], shift, strict=True))
    views = [
        np.s_[:, n * down : n * down + height, n * right : n * right + width] for n in range(3)
    ]
    before, here, after = (values[view].astype(np.float64) for view in views)
    difference = (2 * here - before - after) / math.sqrt(6)
    # what rounding leaves of an exact pattern is no noise
    kept = np.abs(difference) > EXACT * float(np.abs(values).max())
    known = valid[views[0]] & valid[views[1]] & valid[views[2]]
    return np.where(kept, difference, 0), known


def _shift(values: FloatArray, valid: BoolArray) -> tuple[int, int] | None:
    """Shift, down and right, at which the brightness of a window is most like itself; None if nowhere."""
    height, width = values.shape[1:]
    if min(height, width) < LEAST_SIDE:
        return None
    known = np.asarray(valid.all(0))
    band = _band(np.where(known, values.mean(0, np.float64), 0.0))
    if not known.any():
        return None
    deviation = float(np.median(np.abs(band[known])))
    bounded = np.where(
        known, band.clip(-MOST_DEVIATIONS * deviation, MOST_DEVIATIONS * deviation), 0
    )
    likeness = _likeness(bounded, known)
    centre = int(LONGEST * width)
    down, column = (int(n) for n in np.unravel_index(int(likeness.argmax()), likeness.shape))
    right = column - centre
    # an edge is like itself along its direction, a pattern in another one too
    y, x = np.ogrid[: len(likeness), -centre : centre + 1]
    aside = np.abs(down * x - right * y) >= ASIDE * math.hypot(down, right) * np.hypot(y, x)
    if min(likeness[down, column], likeness.max(where=aside, initial=-1)) < REPEATED:
        return None
    return down, right


def _band(image: FloatArray) -> FloatArray:
    """Difference between a fine and a coarse Gaussian mean of an image that goes on as its mirror image."""
    height, width = image.shape
    mirrored = np.block([[image, image[:, ::-1]], [image[::-1], image[::-1, ::-1]]])
    square = np.add.outer(np.fft.fftfreq(2 * height) ** 2, np.fft.rfftfreq(2 * width) ** 2)
    fine, coarse = (np.exp(-2 * (math.pi * radius) ** 2 * square) for radius in (FINE, COARSE))
    filtered = np.fft.irfft2(np.fft.rfft2(mirrored) * (fine - coarse), mirrored.shape)
    return np.asarray(filtered[:height, :width])


def _likeness(image: FloatArray, known: BoolArray) -> FloatArray:
    """Correlation of an image with itself by shift, ``(m + 1, 2 * n + 1)``, from -1 to 1.

    Rows are shifts down from 0 to ``m``, columns are shifts right from ``-n`` to ``n``, each `LONGEST` of the
    side. It is -1 at shifts of less than `LEAST_SHIFT` both ways, and where hardly a pixel meets another.
    """
    height, width = image.shape
    shape = (2 * height, 2 * width)
    lowest, furthest = int(LONGEST * height), int(LONGEST * width)

    def correlated(one: FloatArray, other: FloatArray) -> FloatArray:
        product = np.fft.rfft2(one, shape).conj() * np.fft.rfft2(other, shape)
        whole = np.fft.irfft2(product, shape)
        return np.asarray(np.roll(whole, furthest, 1)[: lowest + 1, : 2 * furthest + 1])

    seen, energy = known.astype(np.float64), image**2
    scale = np.sqrt(np.maximum(correlated(energy, seen) * correlated(seen, energy), 0))
    least = 1e-3 * float(energy.sum())
    likeness = np.where(
        scale > least, correlated(image, image) / np.maximum(scale, least or 1.0), -1
    )
    likeness[:LEAST_SHIFT, furthest - LEAST_SHIFT + 1 : furthest + LEAST_SHIFT] = -1
    return likeness
