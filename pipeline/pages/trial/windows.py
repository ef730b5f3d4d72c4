"""Windows of an image that are worth a trial, chosen by what is in them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from glassplate.pipeline.pages.regions import MOSTLY_VALID
from glassplate.pipeline.pages.shown_result import FloatArray
from glassplate.pipeline.sources.sample_windows import WINDOW, sample_boxes
from glassplate.pipeline.tile_grid import Box

# Windows begin at multiples of so many pixels: blocks of a JPEG whose colours have half the resolution.
STEP = 16
# Side of the squares whose mean is scored, pixels: it has a quarter of the noise of a pixel.
COARSE = 4
# The same for fine detail, such as print.
FINE = 2
# Share of the range of a photograph that is taken for black, and for white; a window with more of both than
# the second number shows no noise. The black around the book of a scan has values of up to 2 % of white.
NEARLY, MOSTLY = 0.03, 0.5

FLATTEST, EDGES, TEXTURE = "flattest part", "strongest edges", "most texture"
DETAIL, BRIGHTEST = "finest detail", "brightest light"
WHOLE, CHOSEN = "whole image", "chosen place"


@dataclass(frozen=True)
class TrialWindow:
    """A part of an image, and why it was chosen."""

    name: str
    box: Box


def choose_windows(
    read: Callable[[Box], FloatArray],
    shape: tuple[int, int],
    *,
    measurements: bool,
    white: float = math.inf,
) -> list[TrialWindow]:
    """Choose up to four windows that do not overlap, the same ones each time.

    They are the best ones by four scores, among windows on a regular grid over the image: the flattest, that
    with the strongest edges, that with most texture, and that with the finest detail.

    Parameters
    ----------
    read
        Reads a box, ``(c, h, w)``, NaN is invalid. At most 64 boxes are read.
    shape
        Height and width of the image.
    measurements
        Whether light is measured, as in FITS: then the last window is the brightest one.
    white
        Of a photograph, whose black is 0: a window of little else than black and white counts as flat only
        if all windows are such.

    Returns
    -------
    windows
        Of 128 pixels, or as large as a smaller image; none if no box that was read has a valid pixel.
    """
    boxes = _candidates(shape)
    pixels = [read(box) for box in boxes]
    valid = np.array([np.isfinite(values).mean() for values in pixels])
    usable = valid >= MOSTLY_VALID if (valid >= MOSTLY_VALID).any() else valid > 0
    kept = [place for place in range(len(boxes)) if usable[place]]
    if len(boxes) == 1:
        return [TrialWindow(WHOLE, boxes[place]) for place in kept]
    scored = {
        place: window_scores(pixels[place], measurements=measurements, white=white)
        for place in kept
    }
    chosen: list[TrialWindow] = []
    for name in scored[kept[0]] if kept else ():
        for place in sorted(kept, key=lambda place: (-scored[place][name], place)):
            if all(boxes[place].intersection(other.box) is None for other in chosen):
                chosen.append(TrialWindow(name, boxes[place]))
                break
    return chosen


def window_at(place: tuple[int, int], shape: tuple[int, int]) -> TrialWindow:
    """The window around a pixel, moved into the image and to a multiple of `STEP`."""
    (y0, y1), (x0, x1) = (
        _span(middle - WINDOW // 2, size) for middle, size in zip(place, shape, strict=True)
    )
    return TrialWindow(CHOSEN, Box(y0, y1, x0, x1))


def window_scores(
    values: FloatArray, *, measurements: bool, white: float = math.inf
) -> dict[str, float]:
    """Score a window ``(c, h, w)`` for each reason to choose it; the larger, the better.

    The scores are differences of neighbouring squares: small ones everywhere (flat), the largest hundredth
    (edges), the median (texture), and how these differences change between squares of two pixels (detail).
    Squares with NaN do not count.
    """
    grey = values.mean(0)
    coarse, fine = _binned(grey, COARSE), _binned(grey, FINE)
    steps = _differences(coarse, 1)
    known = coarse[np.isfinite(coarse)]
    light = float(known.max()) if known.size else -np.inf
    return {
        FLATTEST: -math.inf if _clipped(grey, white) else -float(np.mean(steps**2)),
        EDGES: float(np.percentile(steps, 99)),
        TEXTURE: float(np.median(steps)),
        **({BRIGHTEST: light} if measurements else {DETAIL: float(np.mean(_differences(fine, 2)))}),
    }


def _clipped(grey: FloatArray, white: float) -> bool:
    """Whether little else than black and white is in a window of a photograph."""
    if not math.isfinite(white):
        return False
    ends = (grey < NEARLY * white) | (grey > (1 - NEARLY) * white)
    return bool(ends.mean() > MOSTLY)


def _candidates(shape: tuple[int, int]) -> list[Box]:
    boxes = [box.corner for box in sample_boxes((1, *shape))]
    spans = [tuple(_span(start, size) for start, size in zip(c, shape, strict=True)) for c in boxes]
    return list(dict.fromkeys(Box(*rows, *columns) for rows, columns in spans))


def _span(start: int, size: int) -> tuple[int, int]:
    """First pixel and the one after the last, of a window inside an axis."""
    first = min(max(start, 0), max(size - WINDOW, 0)) // STEP * STEP
    return first, min(first + WINDOW, size)


def _binned(grey: FloatArray, side: int) -> FloatArray:
    """Means of squares, NaN where a pixel is; the pixels themselves where a square does not fit in."""
    height, width = (length // side for length in grey.shape)
    if not height or not width:
        return grey
    squares = grey[: height * side, : width * side].reshape(height, side, width, side)
    means: FloatArray = squares.mean((1, 3))
    return means


def _differences(values: FloatArray, order: int) -> FloatArray:
    """Sizes of the differences between neighbours along both axes; a single 0 where none is known."""
    found = np.concatenate([np.abs(np.diff(values, order, axis)).ravel() for axis in (0, 1)])
    known: FloatArray = found[np.isfinite(found)]
    return known if known.size else np.zeros(1)
