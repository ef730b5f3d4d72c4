"""Noise before and after a restoration, in the flattest places of what was measured.

Differences of neighbouring pixels would miss noise whose grains are larger, and count texture as noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from glassplate.models.cosine_transform import cosine_matrix
from glassplate.models.noise.clipping import without_clipped
from glassplate.models.noise.noise_spectrum import (
    LOWEST_RADIUS,
    checkerboard,
    flat_count,
    flatness,
    noise_spectrum,
    radius_of,
)
from glassplate.models.noise.spectra import ROUNDING, BoolArray, FloatArray, flattest

# Side of the squares, pixels, and the distance between them.
SIDE, STRIDE = 8, 4


class Comparison(NamedTuple):
    """A window before and after."""

    before: FloatArray
    """``(c, h, w)``, ignored where not valid."""
    after: FloatArray
    """``(c, h, w)``, NaN where there is no result."""
    valid: BoolArray
    """``(c, h, w)``, of `before`."""


class FlatNoise(NamedTuple):
    """Standard deviation of the noise in flat places, in the units of the windows."""

    before: float
    after: float


def flat_noise(windows: Sequence[Comparison]) -> FlatNoise | None:
    """Measure the noise in the flattest places before, and what is left of it there after.

    A place is flat by half of its cosine coefficients and measured by the other half, as for the noise model,
    so that the choice does not bias what is measured before. Mean and gradients of a square do not count.

    Parameters
    ----------
    windows
        Of any size; squares that are not wholly valid and finite in all channels are left out.

    Returns
    -------
    FlatNoise or None
        Root mean squares over the channels; None where no square is left.
    """
    unclipped = without_clipped([(window.before, _known(window)) for window in windows])
    known = [np.asarray(valid.all(0)) for _, valid in unclipped]
    peaks = [
        float(np.abs(image[:, where]).max())
        for window, where in zip(windows, known, strict=True)
        for image in (window.before, window.after)
        if where.any()
    ]
    exponent = math.frexp(max(peaks, default=0.0))[1]  # so that squares stay in range
    pairs = [_energies(*of_one, exponent) for of_one in zip(windows, known, strict=True)]
    before = np.concatenate([pair[0] for pair in pairs] or [np.zeros((0, SIDE**2))])
    after = np.concatenate([pair[1] for pair in pairs] or [before])
    if not len(before):
        return None
    spectrum = noise_spectrum(before)
    squares = np.zeros(2)
    for half in checkerboard(SIDE):
        count = flat_count(len(before))
        chosen = flattest(flatness(before, spectrum, half), count)
        other = ~half & (radius_of(SIDE) >= LOWEST_RADIUS)
        # what is not measured is as in the spectrum
        whole = spectrum.mean() / spectrum[other].mean()
        squares += [
            whole * each[chosen][:, other].mean(dtype=np.float64) / 2 for each in (before, after)
        ]
    return FlatNoise(*(math.ldexp(math.sqrt(square), exponent) for square in squares))


def _known(window: Comparison) -> BoolArray:
    """Where a channel is valid and has a result, ``(c, h, w)``."""
    return np.asarray(window.valid & np.isfinite(window.before) & np.isfinite(window.after))


def _energies(window: Comparison, known: BoolArray, exponent: int) -> tuple[FloatArray, FloatArray]:
    """Energy of each cosine coefficient before and after, mean over channels, ``(n, side * side)`` each.

    The energy is that of the window over ``2**exponent``.
    """
    view, nothing = np.lib.stride_tricks.sliding_window_view, np.zeros((0, SIDE**2))
    if min(window.valid.shape[1:]) < SIDE:
        return nothing, nothing
    steps = (slice(None, None, STRIDE), slice(None, None, STRIDE))
    whole = view(known, (SIDE, SIDE))[steps].all((-1, -2))
    basis = np.kron(cosine_matrix(SIDE), cosine_matrix(SIDE)).T
    found = []
    for image in (window.before, window.after):
        squares = view(image, (SIDE, SIDE), axis=(1, 2))[(slice(None), *steps)][:, whole]
        flat = squares.reshape(len(image), -1, SIDE**2).astype(np.float64)
        coefficients = np.ldexp(flat, -exponent) @ basis
        found.append((coefficients**2).mean(0))
    before, after = found
    # a square without any variation is padding, or where values were clipped
    varied = before[:, 1:].sum(1) > ROUNDING * before[:, 0]
    return before[varied], after[varied]
