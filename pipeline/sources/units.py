"""Physical units far from 1, such as 1e-21 W/m2: values are read divided by a power of two.

Squares of float32 values below 1e-19 underflow, and above 1e19 they overflow. Division by a power of two is
exact, and the result is multiplied by it again. Ordinary images are read as they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

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


class ScaledSource(WrappedSource):
    """A source whose values are divided by ``2**exponent``, in float64, so that no bit is lost."""

    def __init__(self, source: Source, exponent: int) -> None:
        super().__init__(source)
        self._exponent = exponent
        self.working_dtype = np.dtype(np.float64)

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box; the image has no variance, guide or hints yet."""
        pixels = self._source.read(box, channels)
        return replace(pixels, values=np.ldexp(pixels.values.astype(np.float64), -self._exponent))


def scaled(source: Source, exponent: int) -> Source:
    """The source with its values divided by ``2**exponent``; the source itself where the exponent is 0."""
    return ScaledSource(source, exponent) if exponent else source


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


def is_per_pixel(unit: str | None) -> bool:
    """Whether values of this unit are summed over pixels: counts and fluxes, not surface brightness.

    True for ``adu``, ``electron/s``, ``nanomaggy`` and the like; False for ``MJy/sr``, ``Jy/beam``,
    ``mag/arcsec2``, anything per angle or in magnitudes, and unknown units.
    """
    text = (unit or "").strip().lower()
    if any(word in text for word in ("sr", "arcsec", "beam", "deg", "mag/", "mag(", "as2")):
        return False
    text = re.sub(r"^(?:10(?:\*\*|\^)[+-]?\d+|[\d.]+(?:e[+-]?\d+)?)[\s*.]*", "", text)
    amount = re.split(r"[/\s*.(^]", text.strip("()[] "), maxsplit=1)[0]
    return amount in _AMOUNTS


_AMOUNTS = {
    "adu", "adus", "analog", "dn", "du", "count", "counts", "ct", "cts", "cps",
    "electron", "electrons", "e", "e-", "photon", "photons", "ph", "event", "events",
    "nanomaggy", "nanomaggies", "nmgy", "maggy", "maggies",
    "jy", "mjy", "ujy", "microjy", "njy", "nanojy",
}  # fmt: skip
