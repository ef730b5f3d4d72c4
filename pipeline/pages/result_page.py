"""The page of one result: before and after, what was removed, maps, curves, noise, provenance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from glassplate.pipeline.export.preview import STRENGTHS
from glassplate.pipeline.pages.curves import loss_plots
from glassplate.pipeline.pages.drawing import (
    REMOVED_SIGMAS,
    Stretch,
    choose_stretch,
    jpeg,
    picture,
    png,
    removed_picture,
)
from glassplate.pipeline.pages.facts import (
    command_again,
    figure_facts,
    noise_facts,
    provenance_facts,
    result_warnings,
)
from glassplate.pipeline.pages.html import check_page_target, write_page
from glassplate.pipeline.pages.noise_plot import noise_plot
from glassplate.pipeline.pages.overview import Overview, read_overview
from glassplate.pipeline.pages.regions import Region, choose_regions
from glassplate.pipeline.pages.shown_result import FloatArray, ShownResult, Views
from glassplate.pipeline.pages.tile_values import TileValues, tile_values
from glassplate.pipeline.text import printable
from glassplate.pipeline.tile_grid import Box

# Side of a region, pixels of the result: a page of five of them stays below 10 MB in colour.
SIDE = 400
# Pixels up to which the whole image is shown at full resolution, and without further regions.
WHOLE_PIXELS = 600_000
# Side of the part that is shown at several strengths, pixels.
STRENGTH_SIDE = 208


@dataclass(frozen=True)
class PagePicture:
    """A part of the image in the page, as data URIs."""

    name: str
    words: str
    """Where it is, and how it is drawn."""
    width: int
    height: int
    place: tuple[float, float, float, float]
    """Left, top, width and height as shares of the whole image as it is drawn, in percent."""
    after: str
    before: str | None
    removed: str | None
    factor: int
    """Pixels of the result for each pixel of the picture, along an axis."""


def write_result_page(store: Path, target: Path | None = None, *, overwrite: bool = False) -> Path:
    """Write the page of a result: one HTML file that opens without a network.

    Only levels of the pyramid and windows are read of a large image, so that time and memory stay small.

    Parameters
    ----------
    store
        A result whose run has ended.
    target
        Name of the page; None for `page_of`. An earlier page is replaced.
    overwrite
        Whether a file is replaced that glassplate did not write.

    Returns
    -------
    target

    Raises
    ------
    UsageError
        If the name is not suitable.
    StoreError
        If there is no result, its run has not ended, or an array is missing.
    """
    shown = ShownResult(store)
    target = page_of(store) if target is None else target
    check_page_target(target, overwrite=overwrite)
    try:
        return write_page(target, "result.html", **_values(shown))
    finally:
        shown.close()


def page_of(store: Path) -> Path:
    """The name of a result's page: ``a.report.html`` beside ``a.zarr``."""
    return store.absolute().with_name(f"{store.absolute().name.removesuffix('.zarr')}.report.html")


def _values(shown: ShownResult) -> dict[str, Any]:
    """What the template shows."""
    maps, overview = tile_values(shown), read_overview(shown)
    whole_is_sharp = shown.height * shown.width <= WHOLE_PIXELS
    regions = choose_regions(overview.after, (shown.height, shown.width), SIDE, _telling(maps))
    views = [shown.read(region.box) for region in regions]
    sigma = _sigma_removed(views)
    stretch = choose_stretch(shown, _all_values(overview, views), _noise(shown) or sigma)
    first = (
        _whole(shown, stretch, sigma) if whole_is_sharp else _small(shown, overview, stretch, sigma)
    )
    rest = [
        _region(shown, region, seen, stretch, sigma)
        for region, seen in zip(regions, views, strict=True)
        if not whole_is_sharp
    ]
    return {
        "title": printable(shown.store.absolute().name),
        "subtitle": _subtitle(shown),
        "pictures": [first, *rest],
        "no_before": shown.why_no_before,
        "drawn": _how_drawn(shown, stretch, sigma),
        "strengths": list(_strengths(shown, regions, stretch)),
        "maps": [one.to_json() for one in maps],
        "tall": maps[0].values.shape[1:] if maps else (1, 1),
        "first_row_is_lowest": shown.first_row_is_lowest,
        "plots": [asdict(plot) for plot in loss_plots(shown)],
        "noise": noise_facts(shown),
        "spectrum": noise_plot(shown.manifest.plan.noise_found),
        "figures": figure_facts(shown),
        "provenance": provenance_facts(shown),
        "command": printable(command_again(shown)),
        "warnings": result_warnings(shown),
        "quarantined": sorted(
            (int(tile), printable(why))
            for tile, why in shown.manifest.final_summary.quarantined.items()
        ),
    }


def _telling(maps: list[TileValues]) -> dict[str, Any]:
    """Maps whose largest tile is worth a look, ``(rows, columns)``; of the first plane."""
    names = {"chi2": "tile with the highest chi2", "seam": "largest difference between tiles"}
    return {names[one.name]: one.values[0].astype(np.float64) for one in maps if one.name in names}


def _subtitle(shown: ShownResult) -> str:
    size = " x ".join(str(length) for length in shown.result.shape)
    unit = f" in {shown.result.unit}" if shown.result.unit else ""
    scale = f", enlarged by {shown.scale}" if shown.scale > 1 else ""
    return f"{size} {shown.result.dtype}{unit}{scale}, {shown.manifest.recipe_name}, {shown.manifest.status}"


def _how_drawn(shown: ShownResult, stretch: Stretch, sigma: float) -> str:
    unit = f" {shown.result.unit}" if shown.result.unit else ""
    lines = [f"Drawn so that {stretch.words}."]
    lines.append(
        f"What was removed: middle grey is nothing, white is {REMOVED_SIGMAS * sigma:.4g}{unit} and black "
        "its opposite."
    )
    if shown.first_row_is_lowest:
        lines.append("The first row is at the bottom.")
    if shown.colours == "grey" and shown.planes > 1:
        lines.append(f"The first of {shown.planes} planes is shown.")
    lines.append("Violet pixels are invalid.")
    return " ".join(lines)


def _noise(shown: ShownResult) -> float | None:
    """Standard deviation of the noise of the input, source units."""
    return shown.manifest.final_summary.noise_before


def _sigma_removed(views: list[Views]) -> float:
    """Standard deviation of what was removed, source units; 0 where nothing is known."""
    parts = [one.removed[np.isfinite(one.removed)] for one in views if one.removed is not None]
    values = np.concatenate(parts) if parts else np.zeros(0)
    # a few rays or scratches do not decide it
    return float(np.percentile(np.abs(values), 68.3)) if values.size else 0.0


def _all_values(overview: Overview, views: list[Views]) -> FloatArray:
    """Pixels by which the stretch is chosen: the whole image at a small size, and regions as they were."""
    parts = [overview.after.ravel()]
    parts += [(one.after if one.before is None else one.before).ravel() for one in views]
    return np.concatenate(parts)


def _whole(shown: ShownResult, stretch: Stretch, sigma: float) -> PagePicture:
    box = Box(0, shown.height, 0, shown.width)
    return _region(shown, Region("whole image", box), shown.read(box), stretch, sigma)


def _small(shown: ShownResult, overview: Overview, stretch: Stretch, sigma: float) -> PagePicture:
    """The whole image at the size of a screen."""
    _, height, width = overview.after.shape
    factor = overview.factor
    words = f"all {shown.height} rows and {shown.width} columns"
    if factor > 1:
        words += f"; a pixel here is the mean of {factor} x {factor}"
    if overview.before is None and shown.same_grid:
        words += "; at this size the image before would look the same: compare the regions"
    return PagePicture(
        name="whole image",
        words=words,
        width=width,
        height=height,
        place=(0.0, 0.0, 100.0, 100.0),
        after=jpeg(picture(shown, overview.after, stretch)),
        before=None if overview.before is None else jpeg(picture(shown, overview.before, stretch)),
        removed=None
        if overview.removed is None
        else jpeg(removed_picture(shown, overview.removed, sigma / factor)),
        factor=factor,
    )


def _region(
    shown: ShownResult, region: Region, seen: Views, stretch: Stretch, sigma: float
) -> PagePicture:
    """A part of the image, pixel for pixel."""
    box = region.box
    return PagePicture(
        name=region.name,
        words=f"rows {box.y0} to {box.y1 - 1}, columns {box.x0} to {box.x1 - 1}, pixel for pixel",
        width=box.shape[1],
        height=box.shape[0],
        place=_place(shown, box),
        after=png(picture(shown, seen.after, stretch)),
        before=None if seen.before is None else png(picture(shown, seen.before, stretch)),
        removed=None if seen.removed is None else png(removed_picture(shown, seen.removed, sigma)),
        factor=1,
    )


def _place(shown: ShownResult, box: Box) -> tuple[float, float, float, float]:
    top = shown.height - box.y1 if shown.first_row_is_lowest else box.y0
    shares = (box.x0 / shown.width, top / shown.height)
    sizes = (box.shape[1] / shown.width, box.shape[0] / shown.height)
    left, above, width, height = (round(100 * share, 3) for share in (*shares, *sizes))
    return left, above, width, height


def _strengths(
    shown: ShownResult, regions: list[Region], stretch: Stretch
) -> Iterator[dict[str, str]]:
    """A part of the image at several strengths; nothing where strengths have no meaning."""
    if not (shown.traits.denoises or shown.traits.from_jpeg) or shown.why_no_before is not None:
        return
    # where most can be lost
    region = next((one for one in regions if one.name == "most detail"), regions[0])
    box = region.box
    h, w = (min(STRENGTH_SIDE, length) for length in box.shape)
    y, x = box.y0 + (box.shape[0] - h) // 2, box.x0 + (box.shape[1] - w) // 2
    seen = shown.read(Box(y, y + h, x, x + w))
    if seen.before is None:
        return
    for strength in STRENGTHS:
        mixed = strength * seen.after + (1 - strength) * seen.before
        meaning = {0.0: "0, the input", 1.0: "1, the result"}.get(strength, f"{strength:g}")
        yield {"name": meaning, "source": png(picture(shown, mixed, stretch))}
