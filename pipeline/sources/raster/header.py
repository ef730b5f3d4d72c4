"""What the header of a raster file says, in one form for all formats."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# TIFF's photometric interpretations: grey with black as 0; red, green and blue; inks.
GREY, RGB, SEPARATED = 1, 2, 5
# TIFF's ExtraSamples: unspecified, and alpha with which the colours are not multiplied.
UNSPECIFIED, ASSOCIATED, UNASSOCIATED = 0, 1, 2
# Components of an image in cyan, magenta, yellow and black.
INKS = 4
# The tag InkSet in the form of `read_tags`; 1 is CMYK.
INK_SET = [332, "InkSet", 3, 1, 1]


@dataclass(frozen=True)
class RasterHeader:
    """The header of a file that is decoded as a whole."""

    width: int
    height: int
    channels: int
    """Channels of the decoded image, alpha included."""
    bits: int
    """Significant bits of a decoded sample."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """JSON-able; each key where the file has it: ``icc`` (base64), ``resolution`` ``[[n, d], [n, d]]``,
    ``resolution_unit`` (2: inch, 3: centimetre), ``photometric``, ``software``, ``tags``, ``exif`` and
    ``gps``, in the form of `read_tags`."""
    signed: bool = False
    inks: bool = False
    """Whether the channels are inks of a JPEG, which stores them inverted."""
    reason: str | None = None
    """Why the image cannot be restored, other than its size; None if it can."""
    note: str | None = None
    """What the reader does to the stored pixels, or does not read; None if nothing."""
    decoder_bytes: int = 0
    """Bytes of a sample while it is decoded, if they are more than those of the decoded one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(y, x)`` or ``(c, y, x)``."""
        plane = (self.height, self.width)
        return plane if self.channels == 1 else (self.channels, *plane)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the decoded pixels."""
        size = 1 if self.bits <= 8 else 2 if self.bits <= 16 else 4
        return np.dtype(f"{'i' if self.signed else 'u'}{size}")

    @property
    def decoded_bytes(self) -> int:
        """Memory that decoding takes."""
        return math.prod(self.shape) * max(self.dtype.itemsize, self.decoder_bytes)


def interpretation(channels: int, *, alpha: int | None = None) -> dict[str, Any]:
    """The keys ``photometric`` and ``extra_samples`` of an image of one to four channels.

    Parameters
    ----------
    channels
        Alpha included.
    alpha
        TIFF's kind of the last channel if it is alpha, else None.
    """
    colours = channels - (alpha is not None)
    photometric = RGB if colours >= 3 else GREY
    others = colours - (3 if colours >= 3 else 1)
    kinds = [UNSPECIFIED] * others + ([] if alpha is None else [alpha])
    return {"photometric": photometric, "extra_samples": kinds}
