"""How viewers are to show a result: range of values and colour of each channel, the ``omero`` metadata."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.store.layout import Layout
from glassplate.pipeline.store.ome_zarr import open_array

# At most so many planes of a cube are looked at, spread evenly.
MOST_PLANES = 16
# The finest level of which these planes have at most so many pixels: it shows on a screen what level 0
# does, and takes 32 MB in float64.
MOST_PIXELS = 1 << 22
# Percentiles of the shown range: a few hot pixels or stars, or a black border, do not decide it.
LOW, HIGH = 0.5, 99.5
# An integer image whose high percentile is below this share of white is shown as floats are: 12 bits in a
# file of 16 would look black.
BRIGHT = 0.25

# TIFF's photometric interpretations.
_WHITE_IS_ZERO, _RGB, _SEPARATED = 0, 2, 5
_COLOURS = {"red": "FF0000", "green": "00FF00", "blue": "0000FF"}
_INKS = ("cyan", "magenta", "yellow", "black")
_WHITE = "FFFFFF"


def omero_attributes(
    store: Path, layout: Layout, attributes: Mapping[str, Any], white: float | None
) -> dict[str, Any]:
    """Return the ``omero`` metadata of a result whose levels are written.

    All colours have one window, so that their balance stays.

    Parameters
    ----------
    store
        The result.
    layout
        Its layout.
    attributes
        Of the group: those of the source tell which planes are colours.
    white
        The value of white of an image of integers; None for physical units.

    Returns
    -------
    omero
        ``start`` and ``end`` of each window are finite and differ, and lie between its ``min`` and ``max``.
        NaN does not count.
    """
    first, last = layout.restored((0, layout.shape[0]))
    planes = np.unique(np.linspace(first, last - 1, MOST_PLANES).astype(int))
    level = 0
    while level < layout.levels - 1 and (
        len(planes) * math.prod(layout.level_shape(level)[1:]) > MOST_PIXELS
    ):
        level += 1
    window = _window([_plane(store, layout, level, int(plane)) for plane in planes], white)
    tiff = attributes.get("tiff") or attributes.get("raster") or {}
    photometric = tiff.get("photometric")
    names = _names(layout, last - first, photometric)
    coloured = set(names) >= set(_COLOURS)
    channels = [
        {
            "label": name,
            "color": _COLOURS.get(name, _WHITE),
            "active": coloured or place == 0,
            "inverted": photometric == _WHITE_IS_ZERO,
            "window": window,
        }
        for place, name in enumerate(names)
    ]
    if layout.alpha:
        full = {"min": 0.0, "max": white or 1.0, "start": 0.0, "end": white or 1.0}
        alpha = {"label": "alpha", "color": _WHITE, "active": False, "inverted": False}
        channels.append({**alpha, "window": full})
    return {"channels": channels, "rdefs": {"model": "color" if coloured else "greyscale"}}


def _plane(store: Path, layout: Layout, level: int, plane: int) -> npt.NDArray[Any]:
    array = open_array(store, str(level))
    return np.asarray(array[plane] if layout.ndim == 3 else array[:])


def _names(layout: Layout, count: int, photometric: int | None) -> list[str]:
    """Names of the planes without alpha. Three planes that are restored together are red, green and blue."""
    if count == 1:
        return ["intensity"]
    if photometric == _SEPARATED and count == len(_INKS):
        return list(_INKS)
    if layout.joint and count == len(_COLOURS) and photometric in (None, _RGB):
        return list(_COLOURS)
    return [f"plane {plane}" for plane in range(count)]


def _window(planes: list[npt.NDArray[Any]], white: float | None) -> dict[str, float]:
    """Return the window of all planes together."""
    values = np.concatenate([plane[np.isfinite(plane)] for plane in planes])
    if not values.size:
        return {"min": 0.0, "max": 1.0, "start": 0.0, "end": 1.0}
    low, high = (float(value) for value in np.percentile(values, [LOW, HIGH]))
    least, most = float(values.min()), float(values.max())
    if white is not None:
        least, most = min(0.0, least), max(white, most)
        if high >= BRIGHT * white:
            low, high = 0.0, white
    if not low < high:
        # one value alone, or nearly: all that there is, else a range that has it at its start
        low, high = least, most
    if not low < high:
        high = low + max(1.0, abs(low))
    return {"min": min(least, low), "max": max(most, high), "start": low, "end": high}
