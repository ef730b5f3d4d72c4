"""CIE Lab of sRGB colours, and colours of a given lightness that a screen can show."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]

# Linear sRGB to CIE XYZ (IEC 61966-2-1). The white is what red, green and blue of 1 give, within 2e-4 of
# D65's, so that grey has a and b of exactly 0.
XYZ_OF_RGB = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
WHITE = XYZ_OF_RGB.sum(1)
RELATIVE = XYZ_OF_RGB / WHITE[:, None]
RGB_OF_RELATIVE = np.linalg.inv(RELATIVE)
# Where the cube root of Lab turns into a line, and that line's slope (CIE 15).
BEND = (6 / 29) ** 3
SLOPE = (29 / 6) ** 2 / 3
# Halvings of the interval in which the largest chroma that can be shown is sought: to 1e-6 of itself.
HALVINGS = 20
# Beyond 0 and 1 by as much is rounding, not a colour that cannot be shown.
ROUNDING = 1e-7


def lab_of_srgb(rgb: FloatArray) -> FloatArray:
    """L (0 to 100), a, b of sRGB values.

    Parameters
    ----------
    rgb
        (3, ...), 0 to 1, gamma-encoded as images are.

    Returns
    -------
    (3, ...) float64.
    """
    f = _root(np.tensordot(RELATIVE, linear(rgb), 1))
    return np.stack([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def lightness(grey: FloatArray) -> FloatArray:
    """L of sRGB greys, 0 to 1; any shape."""
    return 116 * _root(linear(grey)) - 16


def srgb_of(grey: FloatArray, chroma: FloatArray) -> FloatArray:
    """Colours as light as a grey, with as much of a chroma as can be shown beside it.

    Parameters
    ----------
    grey
        (...), sRGB, 0 to 1. What is beyond stays as it is.
    chroma
        (2, ...), a and b. Where red, green or blue would leave 0 to 1 both shrink by the same factor, which
        keeps the hue.

    Returns
    -------
    (3, ...) float64, sRGB, with the lightness of `grey`.
    """
    light = _root(linear(grey))
    share = np.ones(grey.shape)
    loud = ~_shown(_colour(light, chroma))
    share[loud] = _largest_share(light[loud], chroma[:, loud])
    result = encoded(np.clip(_colour(light, share * chroma), 0, 1))
    return np.where(share * np.abs(chroma).sum(0) > 0, result, grey)


def _largest_share(light: FloatArray, chroma: FloatArray) -> FloatArray:
    """Of a chroma (2, n) that can be shown beside a light (n,), by halving; (n,)."""
    low, high = np.zeros(light.shape), np.ones(light.shape)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        inside = _shown(_colour(light, middle * chroma))
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return low


def _colour(light: FloatArray, chroma: FloatArray) -> FloatArray:
    """Linear red, green and blue (3, ...) of the cube root of Y (...) and of a and b (2, ...)."""
    f = np.stack([light + chroma[0] / 500, light, light - chroma[1] / 200])
    return np.tensordot(RGB_OF_RELATIVE, _cube(f), 1)


def _shown(rgb: FloatArray) -> npt.NDArray[np.bool_]:
    """Whether a screen can show linear colours (3, ...)."""
    inside: npt.NDArray[np.bool_] = np.all((rgb >= -ROUNDING) & (rgb <= 1 + ROUNDING), axis=0)
    return inside


def linear(srgb: FloatArray) -> FloatArray:
    """Light of sRGB values; a straight line through 0 below it."""
    srgb = np.asarray(srgb, np.float64)
    power = ((np.maximum(srgb, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(srgb <= 0.04045, srgb / 12.92, power)


def encoded(light: FloatArray) -> FloatArray:
    """The inverse of `linear`."""
    light = np.asarray(light, np.float64)
    power = 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(light <= 0.0031308, 12.92 * light, power)


def _root(t: FloatArray) -> FloatArray:
    return np.where(t > BEND, np.cbrt(t), SLOPE * t + 4 / 29)


def _cube(f: FloatArray) -> FloatArray:
    return np.where(f > 6 / 29, f**3, (f - 4 / 29) / SLOPE)
