"""A preview: the same place of a result at several strengths side by side, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.export.export import check_replaceable, state_of_run
from glassplate.pipeline.export.level import ExportedImage, open_level
from glassplate.pipeline.export.own_files import is_own_png
from glassplate.pipeline.export.strength import FULL
from glassplate.pipeline.files import replacing
from glassplate.pipeline.store.ome_zarr import read_attributes
from glassplate.pipeline.store.row_order import first_row_is_lowest
from glassplate.pipeline.tile_grid import Box

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
# Side of a panel, pixels of the image and of the PNG: five fit on a screen, and grain is seen as it is.
SIDE = 360
# Height of the captions, size of their letters, and white between the panels, pixels.
CAPTION, LETTERS, GAP = 24, 14, 6
_RGB = 2


def preview(
    store: Path,
    target: Path,
    strengths: Sequence[float] = STRENGTHS,
    at: tuple[int, int] | None = None,
) -> Path:
    """Draw a part of a result at several strengths side by side, pixel for pixel.

    Values of 8 bits are shown as they are; others between the limits that the zscale of the input gives. The
    first row of FITS is at the bottom.

    Parameters
    ----------
    store
        A result from which noise or the artefacts of a JPEG were removed.
    target
        ``.png``; an existing file is replaced only if it is such a preview.
    strengths
        Each 0, the input, to 1, the result; at least one.
    at
        Row and column of the middle of the part; None for the middle of the image.

    Raises
    ------
    UsageError
        If the name, a strength or the place is not suitable, or the result has no strength.
    StoreError
        If there is no result, or its run has not ended.
    """
    check_preview_target(target)
    read_attributes(store)  # has the clearest message if there is no result
    state_of_run(store)
    # at strength 0, which also refuses a result that has no strength
    given = open_level(store, 0, 0.0)
    box = _part(given, at)
    low, high = _limits(given, box)
    panels = [
        _panel(_pixels(open_level(store, 0, strength), box), low, high) for strength in strengths
    ]
    text = PngInfo()
    text.add_text("Software", f"{given.software}; run {given.run.get('run_id', '')}")
    with replacing(target, target.with_name(f".{target.name}.partial")) as partial:
        _side_by_side(panels, strengths).save(partial, "PNG", pnginfo=text)
    return target


def check_preview_target(target: Path, names: str = ".png") -> None:
    """Refuse a name that is no PNG, and a file that glassplate did not draw.

    Parameters
    ----------
    names
        The suffixes that may be chosen, for the message.

    Raises
    ------
    UsageError
    """
    if target.suffix.lower() != ".png":
        raise UsageError(f"{target}: previews are {names}; choose such a name")
    check_replaceable(target, is_own_png)


def _part(image: ExportedImage, at: tuple[int, int] | None) -> Box:
    """The part of an image that is shown, wholly inside it."""
    _, height, width = image.shape
    y, x = at or (height // 2, width // 2)
    if not (0 <= y < height and 0 <= x < width):
        raise UsageError(
            f"--at {y},{x}: the image has {height} rows and {width} columns; choose a place in it"
        )
    h, w = min(SIDE, height), min(SIDE, width)
    top, left = min(max(y - h // 2, 0), height - h), min(max(x - w // 2, 0), width - w)
    return Box(top, top + h, left, left + w)


def _pixels(image: ExportedImage, box: Box) -> npt.NDArray[Any]:
    """Colours of a part, ``(3, h, w)``, or its first plane, ``(1, h, w)``; the lowest row last."""
    found = image.attributes.get("tiff") or image.attributes.get("raster") or {}
    coloured = image.shape[0] >= 3 and found.get("photometric", _RGB) == _RGB
    values = image.read(box, slice(0, 3 if coloured else 1))
    return values[:, ::-1] if first_row_is_lowest(image.attributes) else values


def _limits(image: ExportedImage, box: Box) -> tuple[float, float]:
    """Values that are drawn black and white."""
    if image.dtype == np.uint8:
        return 0.0, 255.0
    values = _pixels(image, box).astype(np.float64)
    known = values[np.isfinite(values)]
    if not known.size:
        return 0.0, 1.0
    # imports matplotlib, half a second of a core: the page of a job that has nothing to do draws nothing
    from astropy.visualization import ZScaleInterval

    low, high = ZScaleInterval().get_limits(known)
    return float(low), float(high) if high > low else float(low) + 1.0


def _panel(values: npt.NDArray[Any], low: float, high: float) -> Image.Image:
    """Draw ``(1 or 3, h, w)``; NaN is black."""
    share = np.nan_to_num((values.astype(np.float64) - low) / (high - low), nan=0.0)
    grey = np.rint(255 * share.clip(0, 1)).astype(np.uint8)
    return Image.fromarray(np.moveaxis(np.repeat(grey, 3, 0) if len(grey) == 1 else grey, 0, 2))


def _side_by_side(panels: Sequence[Image.Image], strengths: Sequence[float]) -> Image.Image:
    width, height = panels[0].size
    size = (len(panels) * (width + GAP) - GAP, height + CAPTION)
    canvas = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(LETTERS)
    for number, (panel, strength) in enumerate(zip(panels, strengths, strict=True)):
        left = number * (width + GAP)
        canvas.paste(panel, (left, CAPTION))
        pen.text((left + 2, 3), _caption(strength), fill="black", font=font)
    return canvas


def _caption(strength: float) -> str:
    meaning = {0.0: " (input)", FULL: " (result)"}.get(strength, "")
    return f"{strength:g}{meaning}"
