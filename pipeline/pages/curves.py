"""The loss curves of a result's fits, drawn as lines of an SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import zarr

from glassplate.pipeline.pages.shown_result import FloatArray, ShownResult
from glassplate.pipeline.text import number, plural

TITLES = {
    "heldout_loss": "Loss on pixels that the fit never saw",
    "data_term": "Loss on the pixels that were fitted",
    "chi2": "chi2 of the average so far",
}
# Tiles whose curves are drawn: single lines can still be told apart.
MOST_CURVES = 40
# Size of a plot, and of its margins, in the units of the SVG.
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 260, 64, 30, 8, 12
# Ratio of the largest to the least value from which the axis is logarithmic.
LOGARITHMIC = 5.0
# Percentile of all values above which a curve leaves the plot: the first records of a fit may be enormous.
CUT = 99.0


@dataclass(frozen=True)
class Tick:
    """A mark on an axis."""

    place: float
    text: str


@dataclass(frozen=True)
class Plot:
    """Curves in the units of the SVG, whose first row is at the top."""

    title: str
    words: str
    lines: tuple[str, ...]
    """Points of each curve, as the attribute ``points`` of a polyline."""
    middle: str
    """Points of the median of the curves."""
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def loss_plots(shown: ShownResult) -> list[Plot]:
    """Draw the log of the fits; empty where no tile was fitted."""
    try:
        group = zarr.open_group(shown.store / "iterations", mode="r")
    except FileNotFoundError:
        return []
    if "iteration" not in group:
        return []
    total = group["iteration"].shape[0]
    rows = np.unique(np.linspace(0, total - 1, MOST_CURVES).round().astype(int))
    iterations = _rows(group["iteration"], rows)
    plots = [_plot(title, iterations, _rows(group[name], rows)) for name, title in TITLES.items()]
    return [plot for plot in plots if plot is not None]


def _rows(array: zarr.Array, rows: npt.NDArray[np.int_]) -> FloatArray:
    """Records of some tiles, ``(tile, record)``, read chunk by chunk."""
    return np.asarray(array.get_orthogonal_selection((rows, slice(None))), np.float64)


def _plot(title: str, iterations: FloatArray, values: FloatArray) -> Plot | None:
    """Draw one field of the log; None where it has no value."""
    known = np.isfinite(values) & np.isfinite(iterations)
    if not known.any():
        return None
    low, high = float(values[known].min()), float(np.percentile(values[known], CUT))
    logarithmic = low > 0 and high > LOGARITHMIC * low
    scaled = np.log10(np.where(known, values, 1)) if logarithmic else np.where(known, values, 0)
    bottom, top = (np.log10(low), np.log10(high)) if logarithmic else (low, high)
    if not bottom < top:
        bottom, top = bottom - 0.5, top + 0.5
    longest = float(iterations[known].max())
    x = LEFT + (WIDTH - LEFT - RIGHT) * iterations / longest
    y = TOP + (HEIGHT - TOP - BOTTOM) * (1 - ((scaled - bottom) / (top - bottom)).clip(0, 1))
    curves = int(known.any(1).sum())
    return Plot(
        title=title,
        words=f"{title} of {plural(curves, 'tile')}: from {number(_first(values, known))} to "
        f"{number(_last(values, known))} in the median tile, over up to {longest:.0f} iterations",
        lines=tuple(_points(x[i], y[i], known[i]) for i in range(len(values)) if known[i].any()),
        middle=_median(x, y, known),
        x_ticks=tuple(
            Tick(LEFT + (WIDTH - LEFT - RIGHT) * place / longest, f"{place:g}")
            for place in round_numbers(0, longest)
        ),
        y_ticks=tuple(
            Tick(TOP + (HEIGHT - TOP - BOTTOM) * (1 - (place - bottom) / (top - bottom)), text)
            for place, text in axis_marks(bottom, top, logarithmic=logarithmic)
        ),
    )


def _first(values: FloatArray, known: npt.NDArray[np.bool_]) -> float:
    """Median over the tiles of their first value."""
    return float(
        np.median([row[have][0] for row, have in zip(values, known, strict=True) if have.any()])
    )


def _last(values: FloatArray, known: npt.NDArray[np.bool_]) -> float:
    return float(
        np.median([row[have][-1] for row, have in zip(values, known, strict=True) if have.any()])
    )


def _points(x: FloatArray, y: FloatArray, known: npt.NDArray[np.bool_]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x[known], y[known], strict=True))


def _median(x: FloatArray, y: FloatArray, known: npt.NDArray[np.bool_]) -> str:
    """Median of the curves at each record that at least half of them have."""
    common = known.sum(0) * 2 >= known.any(1).sum()
    points = []
    for record in np.flatnonzero(common):
        have = known[:, record]
        points.append((np.median(x[have, record]), np.median(y[have, record])))
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in points)


def axis_marks(bottom: float, top: float, *, logarithmic: bool) -> Sequence[tuple[float, str]]:
    """Places of the marks of the vertical axis, and their texts."""
    if not logarithmic:
        return [(place, f"{place:.3g}") for place in round_numbers(bottom, top)]
    first, last = int(np.ceil(bottom)), int(np.floor(top))
    digits = (1,) if last - first >= 2 else (1, 2, 5)
    places = [
        np.log10(digit * 10.0**power) for power in range(first - 1, last + 1) for digit in digits
    ]
    return [(place, f"{10**place:.3g}") for place in places if bottom <= place <= top]


def round_numbers(low: float, high: float) -> list[float]:
    """Four to nine round numbers between two values."""
    power = 10.0 ** np.floor(np.log10((high - low) / 4))
    step = next(digit * power for digit in (5, 2, 1) if digit * power * 4 <= (high - low) * 1.0001)
    first = np.ceil(low / step) * step
    return [float(first + n * step) for n in range(10) if first + n * step <= high * (1 + 1e-9)]
