"""Pixels drawn as pictures of 8 bits for a page: a stretch that a viewer would choose, and data URIs."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from glassplate.pipeline.pages.shown_result import Colours, FloatArray

Picture = npt.NDArray[np.uint8]
"""``(h, w)`` grey or ``(h, w, 3)`` colours, the first row at the top."""

# Percentiles that are drawn black and white: noise of the sky stays above black, and a few pixels decide
# nothing. Where asinh compresses bright light, more of it has room: stars fill less than 0.3 % of most skies.
LOW, HIGH, HIGH_OF_ASINH = 0.5, 99.7, 99.97
# Standard deviations of the noise up to which the asinh stretch is nearly linear, so that noise is seen at
# its true strength and bright light is compressed.
LINEAR_SIGMAS = 5.0
# Standard deviations of what was removed that are drawn black and white. A picture of noise then uses most
# of its greys.
REMOVED_SIGMAS = 4.0
# An integer image whose high percentile is below this share of white is stretched too: 12 bits in a file of
# 16 would look black.
BRIGHT = 0.25
# Colour of pixels that are invalid, which no grey image has.
INVALID = (92, 72, 140)
# Quality of a JPEG in which no block is seen at the size of the screen.
JPEG_QUALITY = 88


class Drawable(Protocol):
    """What must be known of an image to draw it: `ShownResult`, and the input of a trial."""

    @property
    def colours(self) -> Colours:
        """What the planes are."""
        ...

    @property
    def is_photograph(self) -> bool:
        """Whether the pixels are integers of a picture, which have a black and a white."""
        ...

    @property
    def white(self) -> float:
        """The value of white of a photograph."""
        ...

    @property
    def first_row_is_lowest(self) -> bool:
        """Whether a person sees the first row at the bottom, as in FITS."""
        ...


@dataclass(frozen=True)
class Stretch:
    """How values become greys: linear, or by asinh where `linear_up_to` is given."""

    low: float
    """Drawn black."""
    high: float
    """Drawn white; above `low`."""
    linear_up_to: float | None = None
    """Height above `low` up to which the stretch is nearly linear, source units."""

    @property
    def words(self) -> str:
        """The stretch as a sentence."""
        kind = "linear" if self.linear_up_to is None else "asinh"
        return f"{self.low:.4g} is black and {self.high:.4g} is white, {kind} between them"

    def greys(self, values: FloatArray) -> npt.NDArray[np.uint8]:
        """Greys of values of any shape; NaN is black."""
        height = np.nan_to_num((values - self.low).clip(0, self.high - self.low), nan=0.0)
        share = height / (self.high - self.low)
        if self.linear_up_to is not None:
            top = np.arcsinh((self.high - self.low) / self.linear_up_to)
            share = np.arcsinh(height / self.linear_up_to) / top
        greys: npt.NDArray[np.uint8] = np.rint(255 * share).astype(np.uint8)
        return greys


def choose_stretch(shown: Drawable, values: FloatArray, sigma: float | None) -> Stretch:
    """Choose how an image is drawn.

    Parameters
    ----------
    shown
        Photographs are drawn from black to white, and inks as they are.
    values
        Pixels of the image, source units, of any shape; NaN does not count.
    sigma
        Standard deviation of the noise, source units; None where it is not known.
    """
    known = values[np.isfinite(values)]
    if not known.size:
        return Stretch(0.0, 1.0)
    low, high = (float(value) for value in np.percentile(known, [LOW, HIGH]))
    if shown.is_photograph and (shown.colours == "cmyk" or high >= BRIGHT * shown.white):
        return Stretch(0.0, shown.white)
    if not low < high:
        low, high = float(known.min()), float(known.max())
    if not low < high:
        return Stretch(low, low + max(1.0, abs(low)))
    if shown.is_photograph or not sigma:
        return Stretch(low, high)
    return Stretch(low, float(np.percentile(known, HIGH_OF_ASINH)), LINEAR_SIGMAS * sigma)


def picture(shown: Drawable, values: FloatArray, stretch: Stretch) -> Picture:
    """Draw an image ``(c, h, w)``; NaN in any plane has the colour `INVALID`."""
    greys = stretch.greys(values)
    if shown.colours == "cmyk":
        inks = Image.fromarray(np.moveaxis(greys, 0, 2), mode="CMYK")
        drawn = np.moveaxis(np.asarray(inks.convert("RGB")), 2, 0)
    else:
        drawn = greys
    return _marked(shown, drawn, _unknown(values))


def removed_picture(shown: Drawable, values: FloatArray, sigma: float) -> Picture:
    """Draw what was removed, ``(c, h, w)``: middle grey is nothing, white `REMOVED_SIGMAS` times `sigma`."""
    if shown.colours == "cmyk":
        values = values.mean(0, keepdims=True)
    most = REMOVED_SIGMAS * sigma or 1.0
    return _marked(shown, Stretch(-most, most).greys(values), _unknown(values))


def _unknown(values: FloatArray) -> npt.NDArray[np.bool_]:
    """Where any plane of ``(c, h, w)`` is invalid."""
    unknown: npt.NDArray[np.bool_] = np.asarray(np.isnan(values).any(0))
    return unknown


def _marked(
    shown: Drawable, drawn: npt.NDArray[np.uint8], invalid: npt.NDArray[np.bool_]
) -> Picture:
    """Planes ``(c, h, w)`` as a picture the right way up, with invalid pixels in their colour."""
    if invalid.any() and len(drawn) == 1:
        drawn = np.repeat(drawn, 3, 0)
    made = np.moveaxis(drawn, 0, 2).copy() if len(drawn) == 3 else drawn[0].copy()
    if invalid.any():
        made[invalid] = INVALID
    return made[::-1] if shown.first_row_is_lowest else made


def png(image: Picture) -> str:
    """Return a picture as the data URI of a PNG, pixel for pixel."""
    return _uri(image, "png", optimize=False, compress_level=9)


def jpeg(image: Picture) -> str:
    """Return a picture as the data URI of a JPEG."""
    return _uri(image, "jpeg", quality=JPEG_QUALITY, subsampling=0)


def _uri(image: Picture, kind: str, **options: int) -> str:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
