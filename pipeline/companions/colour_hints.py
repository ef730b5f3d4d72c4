"""Colour hints: the colours that a user painted on parts of a grey photograph."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from glassplate.models.colour import srgb_to_lab
from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.sources.source import Pixels, Source, WrappedSource, white_of
from glassplate.pipeline.tile_grid import Box, TileGrid

# Smallest a or b of CIE Lab of a hint that has a colour: what 8 bits can tell from grey.
LEAST_CHROMA = 1.0
# Red, green and blue.
COLOURS = 3
# TIFF's photometric interpretations: white is 0, red green and blue.
_MINISWHITE, _RGB = 0, 2


class HintedSource(WrappedSource):
    """A grey photograph as red, green and blue, with the chroma of its hints.

    A pixel of the image of hints is a hint where its alpha is above 0 or, without an alpha channel, where it
    is not grey. An invalid pixel of the photograph has no hint.
    """

    def __init__(self, source: Source, hints: Source) -> None:
        super().__init__(source, hints)
        self._hints = hints
        self.shape, self.ndim, self.joint = (COLOURS, *source.shape[1:]), 3, True
        self.metadata = _as_colour(source.metadata, alpha=source.alpha is not None)

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box of the photograph, repeated for the three channels, and of the hints."""
        grey = self._source.read(box)
        planes = slice(*(channels or (0, COLOURS)))
        shape = (COLOURS, *box.shape)
        found = None if grey.found is None else np.broadcast_to(grey.found, shape)[planes]
        return Pixels(
            np.broadcast_to(grey.values, shape)[planes].copy(),
            np.broadcast_to(grey.valid, shape)[planes].copy(),
            found=found,
            hints=np.where(grey.valid, chroma_of(self._hints, box), np.nan).astype(np.float32),
            hidden=grey.hidden,
        )


def check_hints(source: Source, hints: Source, label: str) -> None:
    """Refuse a photograph that cannot be coloured, and hints that are no colours.

    Raises
    ------
    SourceError
        If the hints are not RGB or RGBA of the photograph's size.
    UsageError
        If the photograph is not grey, or its format holds no colours.
    """
    path = source.spec.path
    if source.shape[0] != 1:
        raise UsageError(
            f"{path}: has {source.shape[0]} planes: task colorize takes a photograph in grey; convert it "
            "to one plane"
        )
    if source.format == "fits":
        raise UsageError(f"{path}: is FITS, which has no colours to look at; convert it to TIFF")
    if source.metadata.get("tiff", {}).get("photometric") == _MINISWHITE:
        raise UsageError(f"{path}: 0 is white in it; save it with black as 0")
    if hints.shape[0] not in (COLOURS, COLOURS + 1) or hints.dtype.kind not in "uf":
        raise SourceError(
            f"{label}: {hints.shape[0]} planes of {hints.dtype.name}, must be RGB or RGBA"
        )
    if hints.shape[1:] != source.shape[1:]:
        raise SourceError(
            f"{label}: {hints.shape[1]} x {hints.shape[2]} pixels do not fit the "
            f"{source.shape[1]} x {source.shape[2]} of {path}; paint them on the same grid"
        )


def chroma_of(hints: Source, box: Box) -> npt.NDArray[np.float64]:
    """CIE Lab's a and b of the hints in a box, ``(2, h, w)``; NaN where there is no hint."""
    pixels = hints.read(box)
    rgb = pixels.values[:COLOURS] / white_of(hints)
    painted = pixels.valid.all(0)
    if len(pixels.values) > COLOURS:
        painted = painted & (pixels.values[COLOURS] > 0)
    else:
        painted = painted & (np.ptp(rgb, axis=0) > 0)
    return np.where(painted, srgb_to_lab(np.clip(rgb, 0, 1))[1:], np.nan)


def check_tiles_have_hints(source: HintedSource, grid: TileGrid) -> tuple[str, ...]:
    """Read the hints of every tile, and say how many tiles have none.

    Returns
    -------
    Warnings, one line each: how many tiles will stay grey.

    Raises
    ------
    UsageError
        If no hint lies on a valid pixel, or none has a colour.
    """
    strongest, without = 0.0, 0
    for index in range(len(grid)):
        hints = source.read(grid.tile(index).window).hints
        if hints is None or not np.isfinite(hints).any():
            without += 1
        else:
            strongest = max(strongest, float(np.nanmax(np.abs(hints))))
    if strongest < LEAST_CHROMA:
        raise UsageError(
            f"hints {source.spec.hints}: no pixel of them has a colour; paint some, opaque, in colours that "
            "are not grey"
        )
    if not without:
        return ()
    return (
        f"{without} of {len(grid)} tiles have no hint within their windows and stay grey; paint some "
        f"there, or raise tiles.core from {grid.core}",
    )


def _as_colour(metadata: dict[str, Any], *, alpha: bool) -> dict[str, Any]:
    """Metadata of a grey image as that of its coloured version."""
    found = {
        key: dict(value) if isinstance(value, dict) else value for key, value in metadata.items()
    }
    for kind in ("tiff", "raster"):
        if kind in found:
            # an ICC profile for grey does not describe colours, and some readers fail on it
            found[kind].pop("icc", None)
            found[kind].pop("min_is_white", None)
            kinds = found[kind].pop("extra_samples", ())
            if alpha:
                found[kind]["extra_samples"] = kinds[-1:]
            if "photometric" in found[kind]:
                found[kind]["photometric"] = _RGB
    return found
