"""CIE Lab coordinates of sRGB colours, and displayable colours of a given lightness."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]

# Linear sRGB to CIE XYZ (IEC 61966-2-1). White is the XYZ of red, green and blue of 1, within 2e-4 of D65, so
# that grey has a and b of exactly 0.
XYZ_FROM_RGB = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
WHITE = XYZ_FROM_RGB.sum(1)
RELATIVE_XYZ_FROM_RGB = XYZ_FROM_RGB / WHITE[:, None]
RGB_FROM_RELATIVE_XYZ = np.linalg.inv(RELATIVE_XYZ_FROM_RGB)
# Below the first value the cube root of Lab is a line with the second as its slope (CIE 15).
LINEAR_BELOW = (6 / 29) ** 3
SLOPE = (29 / 6) ** 2 / 3
# Bisections in the search for the largest displayable chroma: to 1e-6 of it.
BISECTIONS = 20
# Linear values beyond 0 and 1 by less than this are rounding, and the colour is displayable.
ROUNDING = 1e-7


def srgb_to_lab(rgb: FloatArray) -> FloatArray:
    """Convert sRGB values to L (0 to 100), a, b.

    Parameters
    ----------
    rgb
        (3, ...), 0 to 1, gamma-encoded as in image files.

    Returns
    -------
    (3, ...) float64.
    """
    f = _root(np.tensordot(RELATIVE_XYZ_FROM_RGB, linear_from_srgb(rgb), 1))
    return np.stack([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def lightness(grey: FloatArray) -> FloatArray:
    """L (0 to 100) of sRGB greys, 0 to 1; any shape."""
    return 116 * _root(linear_from_srgb(grey)) - 16


def add_chroma(grey: FloatArray, chroma: FloatArray) -> FloatArray:
    """Colour a grey image without changing its lightness.

    Parameters
    ----------
    grey
        (...), sRGB, 0 to 1. Values beyond this range stay as they are.
    chroma
        (2, ...), a and b. Where red, green or blue would leave the range 0 to 1, both are multiplied by the
        same largest factor that prevents it, which keeps the hue.

    Returns
    -------
    (3, ...) float64, sRGB, with the lightness of `grey`.
    """
    light = _root(linear_from_srgb(grey))
    share = np.ones(grey.shape)
    beyond = ~_displayable(_linear_rgb(light, chroma))
    share[beyond] = _largest_share(light[beyond], chroma[:, beyond])
    result = srgb_from_linear(np.clip(_linear_rgb(light, share * chroma), 0, 1))
    return np.where(share * np.abs(chroma).sum(0) > 0, result, grey)


def delta_e_2000(first: FloatArray, second: FloatArray) -> FloatArray:
    """Difference of colours, CIEDE2000 with unit weights; about 1 is just noticeable.

    The formula and its order of steps are those of Sharma, Wu and Dalal 2005, "The CIEDE2000 color-difference
    formula", equations 2 to 22.

    Parameters
    ----------
    first, second
        (3, ...), L, a, b.

    Returns
    -------
    (...) float64, not negative.
    """
    (l1, a1, b1), (l2, a2, b2) = np.asarray(first, np.float64), np.asarray(second, np.float64)
    strong = (0.5 * (np.hypot(a1, b1) + np.hypot(a2, b2))) ** 7
    stretch = 1.5 - 0.5 * np.sqrt(strong / (strong + 25.0**7))
    a1, a2 = stretch * a1, stretch * a2
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    grey = c1 * c2 == 0
    turn = np.where(grey, 0, (h2 - h1 + 180) % 360 - 180)
    hue_sum = np.where(np.abs(h1 - h2) > 180, (h1 + h2 + 360) % 720, h1 + h2)
    hue = np.where(grey, h1 + h2, hue_sum / 2)
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    t = (
        1
        - 0.17 * np.cos(np.radians(hue - 30))
        + 0.24 * np.cos(np.radians(2 * hue))
        + 0.32 * np.cos(np.radians(3 * hue + 6))
        - 0.20 * np.cos(np.radians(4 * hue - 63))
    )
    dl = (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    dc = (c2 - c1) / (1 + 0.045 * chroma)
    dh = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn) / 2) / (1 + 0.015 * chroma * t)
    rotation = (
        -2
        * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
        * np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    )
    # rounding must not make it negative
    square = np.maximum(dl**2 + dc**2 + dh**2 + rotation * dc * dh, 0)
    difference: FloatArray = np.sqrt(square)
    return difference


def _largest_share(light: FloatArray, chroma: FloatArray) -> FloatArray:
    """Largest displayable share (n,) of a chroma (2, n) beside a cube root of Y (n,), by bisection."""
    low, high = np.zeros(light.shape), np.ones(light.shape)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        inside = _displayable(_linear_rgb(light, middle * chroma))
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return low


def _linear_rgb(light: FloatArray, chroma: FloatArray) -> FloatArray:
    """Linear red, green and blue (3, ...) from the cube root of Y (...) and from a and b (2, ...)."""
    f = np.stack([light + chroma[0] / 500, light, light - chroma[1] / 200])
    return np.tensordot(RGB_FROM_RELATIVE_XYZ, _cube(f), 1)


def _displayable(rgb: FloatArray) -> npt.NDArray[np.bool_]:
    """Whether linear colours (3, ...) have no component beyond 0 to 1."""
    inside: npt.NDArray[np.bool_] = np.all((rgb >= -ROUNDING) & (rgb <= 1 + ROUNDING), axis=0)
    return inside


def linear_from_srgb(srgb: FloatArray) -> FloatArray:
    """Linear light of sRGB values; negative ones continue the straight line through 0."""
    srgb = np.asarray(srgb, np.float64)
    power = ((np.maximum(srgb, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(srgb <= 0.04045, srgb / 12.92, power)


def srgb_from_linear(light: FloatArray) -> FloatArray:
    """Invert `linear_from_srgb`."""
    light = np.asarray(light, np.float64)
    power = 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(light <= 0.0031308, 12.92 * light, power)


def _root(t: FloatArray) -> FloatArray:
    return np.where(t > LINEAR_BELOW, np.cbrt(t), SLOPE * t + 4 / 29)


def _cube(f: FloatArray) -> FloatArray:
    return np.where(f > 6 / 29, f**3, (f - 4 / 29) / SLOPE)
