"""Values far from 1, such as 1e-21 W/m2, and values far above their noise, such as 1e9 + 1, as they are read.

Squares of float32 values below 1e-19 underflow, and above 1e19 they overflow: values are divided by a power
of two, which is exact, and the result is multiplied by it again. Of 1e9 + 1, float32 keeps no noise: the
pedestal is taken off in float64, and added to the result. Ordinary images are read as they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.scaling import Sample
from glassplate.pipeline.sources.source import Pixels, Source, WrappedSource
from glassplate.pipeline.tile_grid import Box

# An image whose typical deviation from its median lies between 2**-32 and 2**32, 2e-10 to 4e9, is read as it
# is. The squares of values a million times larger, and of noise a million times smaller, are finite and not 0
# in float32.
ORDINARY = 32
# Exponents are multiples of this, so that images that differ only by such a power of two are restored to the
# same bits.
STEP = 64
# This percentile of the deviations decides where their median is close to 0: a synthetic image without noise
# has wings of stars down to 1e-40.
BRIGHT = 99.9
# Level of an image, in standard deviations of its noise, above which it has a pedestal. float32 has a
# resolution of 2**-23 of the level, thus of 2**-9 of the noise. Counts have such a level beyond 2**28, 3e8.
MOST_LEVEL = 2.0**14


class ScaledSource(WrappedSource):
    """A source whose values less a pedestal are divided by ``2**exponent``, in float64."""

    def __init__(self, source: Source, exponent: int, pedestal: float) -> None:
        super().__init__(source)
        self._exponent, self._pedestal = exponent, pedestal
        self.working_dtype = np.dtype(np.float64)

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box; the image has no variance, guide or hints yet."""
        pixels = self._source.read(box, channels)
        values = pixels.values.astype(np.float64)
        if self._pedestal:
            # invalid pixels are 0, as they are read
            values = np.where(pixels.valid, values - self._pedestal, 0)
        return replace(pixels, values=np.ldexp(values, -self._exponent))


def scaled(source: Source, exponent: int, pedestal: float = 0.0) -> Source:
    """The source with its values less `pedestal` divided by ``2**exponent``; itself where that is nothing."""
    return ScaledSource(source, exponent, pedestal) if exponent or pedestal else source


def pedestal_of(samples: Sequence[Sample], sigma: float, dtype: np.dtype[Any]) -> float:
    """The level that is taken off an image before float32 would lose its noise; 0 for ordinary images.

    Parameters
    ----------
    samples
        Windows of the image with the values of the file, wild pixels invalid.
    sigma
        Standard deviation of the noise between neighbours; 0 where there is none.
    dtype
        Pixel type of the file.

    Returns
    -------
    pedestal
        A multiple of a power of two near the noise, so that hardly a subtraction rounds; whole for integers.
    """
    pixels = np.concatenate([v[ok].astype(np.float64) for v, ok in samples] or [np.zeros(0)])
    level = float(np.median(pixels)) if pixels.size else 0.0
    deviations = _above_zero(pixels - level)
    spread = sigma or (float(np.median(deviations)) if deviations.size else 0.0)
    if not spread or abs(level) <= MOST_LEVEL * spread:
        return 0.0
    step = math.ldexp(1.0, math.ceil(math.log2(spread)))
    if dtype.kind in "iu":
        step = max(step, 1.0)
    return round(level / step) * step


def unit_exponent(samples: Sequence[Sample]) -> int:
    """Exponent of the power of two by which an image is divided when it is read; 0 for ordinary images.

    Parameters
    ----------
    samples
        Windows of the image with the values of the file, wild pixels invalid.
    """
    pixels = np.concatenate([v[ok].astype(np.float64) for v, ok in samples] or [np.zeros(0)])
    deviations = _above_zero(pixels - np.median(pixels)) if pixels.size else pixels
    if not deviations.size:
        deviations = _above_zero(pixels)
    if not deviations.size:
        return 0
    typical, bright = np.percentile(deviations, [50, BRIGHT])
    # a level far above its noise must not overflow either
    bright = max(float(bright), abs(float(np.median(pixels))))
    if math.log2(typical) <= ORDINARY and math.log2(bright) >= -ORDINARY:
        return 0
    return STEP * round(math.log2(bright) / STEP)


def _above_zero(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    sizes = np.abs(values)
    return sizes[sizes > 0]


# Spellings of amounts that are summed over pixels. Their size does not matter here.
_AMOUNTS = {
    "adu", "adus", "analog", "dn", "du", "count", "counts", "ct", "cts",
    "electron", "electrons", "e", "e-", "photon", "photons", "ph", "event", "events",
    "nanomaggy", "nanomaggies", "nmgy", "maggy", "maggies",
}  # fmt: skip
# Spellings that astropy does not know, or knows as something else: "as" is its attosecond, "A" its ampere.
_SPELLINGS = dict.fromkeys(_AMOUNTS, "ct") | {
    "cps": "ct/s", "sec": "s", "second": "s", "seconds": "s",
    "as": "arcsec", "asec": "arcsec", "arcseconds": "arcsec", "amin": "arcmin", "radian": "rad",
    "radians": "rad", "degree": "deg", "degrees": "deg", "ster": "sr", "steradian": "sr",
    "jy": "Jy", "mjy": "Jy", "ujy": "Jy", "njy": "Jy", "microjy": "Jy", "nanojy": "Jy", "w": "W",
    "a": "Angstrom", "ang": "Angstrom", "angstrom": "Angstrom", "angstroms": "Angstrom",
    "pixel": "pix", "pixels": "pix", "px": "pix", "spaxel": "pix", "per": "/",
}  # fmt: skip
# A power of ten or another factor before the unit, as in "10**(-6)counts/s".
_FACTOR = re.compile(
    r"(?:10 *(?:\*\*|\^)? *\(?[+-]?\d+\)?|[\d.]+(?:[eE][+-]?\d+)?)[\s*.]*(?=[A-Za-z(])"
)
_WORD = re.compile(r"e-(?!\d)|[A-Za-z]+")
_FLUXES = {"spectral flux density", "spectral flux density wav", "energy flux", "photon flux"}


def is_per_pixel(unit: str | None) -> bool:
    """Whether values of this unit are summed over pixels: counts and fluxes, not surface brightness.

    True for ``adu``, ``electron/s``, ``nanomaggy``, ``Jy``, ``Jy/pixel`` and the like; False for ``MJy/sr``,
    ``Jy/beam``, ``mag/arcsec2``, anything per angle or in magnitudes, and unknown units. astropy reads the
    unit after usual spellings that it does not know have been replaced.
    """
    text = _as_astropy_spells(unit or "")
    if not text or re.search(r"\b(?:beam|mag|dex|dB)\b", text, re.IGNORECASE):
        return False
    from astropy import units

    try:
        with collected_warnings("unit"):  # about several slashes
            found = units.Unit(text, format="generic").decompose()
    # astropy raises ValueError for unknown units, and TypeError for odd powers
    except (ValueError, TypeError):
        return False
    powers = dict(zip(found.bases, found.powers, strict=True))
    if powers.get(units.rad, 0) != 0:
        return False
    # the flux of a pixel is a flux
    found = found * units.pix ** -powers.get(units.pix, 0)
    # astropy shows several names of one physical type
    return powers.get(units.ct, 0) == 1 or any(name in _FLUXES for name in found.physical_type)


def _as_astropy_spells(unit: str) -> str:
    text = _FACTOR.sub("", unit.strip(), count=1) if _FACTOR.match(unit.strip()) else unit.strip()
    text = _WORD.sub(lambda word: _SPELLINGS.get(word[0].lower(), word[0]), text)
    # W/m^2-sr: a hyphen between units is a product
    return re.sub(r"(?<=[A-Za-z\d])-(?=[A-Za-z])", " ", text)
