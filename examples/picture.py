"""Draw before, after and removed side by side. Only the demo needs this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Grey = npt.NDArray[np.uint8]

GAP = 8
CAPTION = 22


@dataclass(frozen=True)
class Panels:
    """Three views of one image, ``(y, x)`` uint8; each is enlarged to the same width when drawn."""

    before: Grey
    after: Grey
    removed: Grey
    captions: tuple[str, str, str]


def sky_panels(before: npt.NDArray, after: npt.NDArray, removed: npt.NDArray) -> Panels:
    """Sky: one asinh stretch for before and after, linear for what was removed.

    All ``(y, x)`` in source units; NaN is drawn black.
    """
    middle = np.nanmedian(before)
    spread = 1.4826 * np.nanmedian(np.abs(before - middle))
    low, high = middle - 1.5 * spread, np.nanpercentile(before, 99.7)
    soft = 3 * spread

    def stretch(values: npt.NDArray) -> Grey:
        return _grey(np.arcsinh((values - low) / soft) / np.arcsinh((high - low) / soft))

    reach = 5 * 1.4826 * np.nanmedian(np.abs(removed - np.nanmedian(removed)))
    return Panels(
        stretch(before),
        stretch(after),
        _grey(0.5 + removed / (2 * reach)),
        ("before", "after", f"removed (grey is 0, black and white {reach:.2g})"),
    )


def page_panels(before: npt.NDArray, after: npt.NDArray, removed: npt.NDArray) -> Panels:
    """Page: grey levels as they are; `after` may be finer. What was removed is drawn 8 times as strong."""
    return Panels(
        _grey(before / 255),
        _grey(after / 255),
        _grey(0.5 + removed * 8 / 255),
        (
            "before",
            f"after, x{after.shape[0] // before.shape[0]}",
            "unexplained, 8 times as strong",
        ),
    )


def draw(rows: Sequence[Panels], width: int | None = None) -> Image.Image:
    """One row for each image; panels `width` pixels wide, as wide as the widest where None."""
    strips = [_strip(row, width or max(row.before.shape[1], row.after.shape[1])) for row in rows]
    size = max(s.width for s in strips), sum(s.height for s in strips) + GAP * (len(strips) - 1)
    canvas, top = Image.new("L", size, 255), 0
    for strip in strips:
        canvas.paste(strip, (0, top))
        top += strip.height + GAP
    return canvas


def _strip(panels: Panels, width: int) -> Image.Image:
    views = [_enlarged(view, width) for view in (panels.before, panels.after, panels.removed)]
    strip = Image.new("L", (3 * width + 2 * GAP, views[0].height + CAPTION), 255)
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(14)
    for i, (view, caption) in enumerate(zip(views, panels.captions, strict=True)):
        strip.paste(view, (i * (width + GAP), CAPTION))
        pen.text((i * (width + GAP), 2), caption, fill=0, font=font)
    return strip


def _enlarged(view: Grey, width: int) -> Image.Image:
    """Pixels stay squares, so that nothing is smoothed by the drawing."""
    height = round(view.shape[0] * width / view.shape[1])
    return Image.fromarray(view).resize((width, height), Image.Resampling.NEAREST)


def _grey(values: npt.NDArray) -> Grey:
    return (np.nan_to_num(values).clip(0, 1) * 255).round().astype(np.uint8)
