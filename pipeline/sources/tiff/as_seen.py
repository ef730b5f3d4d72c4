"""The stored numbers of a page as the values that a person sees: black is 0, and colours are no indices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_MINISWHITE, MINISBLACK, RGB, PALETTE = 0, 1, 2, 3
_BILEVEL_WHITE = 255
# Colours as a sensor gives them, in DNG: a camera's after its mosaic was resolved, or a scanner's.
LINEAR_RAW = 34892
# Entries of a palette have 16 bits; the tools of libtiff make them of 8 by this factor, or by 256.
_REPEATED, _SHIFTED = 257, 256


@dataclass(frozen=True)
class AsSeen:
    """What is done to the samples of a page after decoding; by default nothing."""

    channels: int
    """Channels of the result."""
    dtype: np.dtype[Any]
    bits: Any
    """Significant bits of a sample, a list where those of the samples differ."""
    photometric: int
    """TIFF's interpretation of the result."""
    palette: npt.NDArray[Any] | None = None
    """``(c, n)``: the colour of each index."""
    bilevel: bool = False
    """Whether samples of one bit become 0 and 255."""
    white: int | None = None
    """The stored number of black, where white is stored as 0; None where black is."""
    note: str | None = None

    @property
    def changes(self) -> bool:
        """Whether anything is done."""
        return self.palette is not None or self.bilevel or self.white is not None

    def apply(self, stored: npt.NDArray[Any], first: int = 0) -> npt.NDArray[Any]:
        """The values of stored samples.

        Parameters
        ----------
        stored
            ``(c, h, w)`` as decoded.
        first
            Number of the first of these channels in the page; only channel 0 is light.
        """
        if self.palette is not None:
            return self.palette[:, stored[0].astype(np.intp)]
        if self.bilevel:
            stored = stored.astype(np.uint8) * np.uint8(_BILEVEL_WHITE)
        if self.white is None or first > 0:
            return stored
        inverted = stored.copy()
        inverted[0] = stored.dtype.type(self.white) - stored[0]
        return inverted


def as_seen(page: Any) -> AsSeen:
    """How the samples of a page are presented.

    Raises
    ------
    ValueError
        If it has a palette that is damaged, or further samples beside its indices.
    """
    samples = int(page.shaped[0] * page.shaped[4])
    photometric = int(page.photometric)
    if photometric == PALETTE:
        return _looked_up(page, samples)
    bits = page.bitspersample
    bits = int(bits) if isinstance(bits, int) else [int(b) for b in bits]
    inverted = photometric == _MINISWHITE
    if page.dtype.kind == "b":
        note = "1 bit per pixel is read as grey of 8 bits"
        white = _BILEVEL_WHITE if inverted else None
        shown = MINISBLACK if inverted else photometric
        return AsSeen(samples, np.dtype(np.uint8), 8, shown, None, True, white, note)
    if inverted and page.dtype.kind == "u" and isinstance(bits, int):
        return AsSeen(samples, page.dtype, bits, MINISBLACK, white=2**bits - 1)
    if photometric == LINEAR_RAW:
        shown = RGB if samples >= 3 else MINISBLACK
        note = (
            "linear data of the sensor are read as stored, without the colours of a developed DNG"
        )
        return AsSeen(samples, page.dtype, bits, shown, note=note)
    return AsSeen(samples, page.dtype, bits, photometric)


def _looked_up(page: Any, samples: int) -> AsSeen:
    """A palette whose colours are all grey gives one channel, any other three."""
    colours = page.colormap
    if samples != 1:
        raise ValueError(f"palette colours with {samples} samples a pixel; convert it to RGB first")
    if colours is None or colours.shape != (3, 2 ** int(page.bitspersample)):
        raise ValueError("palette colours without their table; convert it to RGB first")
    if colours.max() < _SHIFTED or not (colours % _SHIFTED).any():
        # entries of 8 bits, as old programs write them, or their upper halves
        colours = colours if colours.max() < _SHIFTED else colours // _SHIFTED
        colours = colours.astype(np.uint8)
    elif not (colours % _REPEATED).any():
        colours = (colours // _REPEATED).astype(np.uint8)
    grey = bool((colours == colours[0]).all())
    if grey:
        colours = colours[:1]
    bits = 8 * colours.itemsize
    note = f"a palette is read as its {'greys' if grey else 'colours'} of {bits} bits"
    shown = MINISBLACK if grey else RGB
    return AsSeen(len(colours), colours.dtype, bits, shown, colours, note=note)
