"""The figure of a recovery: what is found again by signal to noise, and some sources before and after."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from glassplate.pipeline.assess.injection.artificial import KINDS, SIGNIFICANCES, Kind
from glassplate.pipeline.assess.injection.inject import Injection, Recovery
from glassplate.pipeline.assess.injection.recovery import Recovered, RecoveryRow
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.files import replacing

FloatArray = npt.NDArray[np.float64]
Colour = tuple[int, int, int]

# Pixels of the PNG: a plot with its margins, letters, a source, and white between them.
PLOT = (330, 230)
LEFT, TOP, BOTTOM = 52, 30, 34
LETTERS, SMALL = 15, 12
STAMP, GAP = 84, 6
HEAD = 30
# Distances between ticks, of which the smallest that leaves room is taken.
STEPS = tuple(digit * 10.0**power for power in range(-2, 6) for digit in (1, 2, 5))

BLACK: Colour = (30, 30, 30)
GREY: Colour = (225, 225, 225)
# Blue and orange of Okabe and Ito's palette, which all eyes tell apart.
BEFORE: Colour = (0, 114, 178)
AFTER: Colour = (213, 94, 0)


@dataclass(frozen=True)
class _Series:
    """Values by the place of their signal to noise."""

    points: tuple[tuple[int, float], ...]
    colour: Colour
    filled: bool


@dataclass(frozen=True)
class _Plot:
    title: str
    low: float
    high: float
    expected: float | None
    """Where a line is drawn."""
    series: tuple[_Series, ...]


def check_figure(target: Path) -> None:
    """Refuse a name under which no figure could be written, before anything is restored.

    Raises
    ------
    UsageError
    """
    if target.suffix.lower() != ".png":
        raise UsageError(f"{target}: figures are .png; choose such a name")
    if target.exists() and not _is_figure(target):
        raise UsageError(
            f"{target}: is no figure of glassplate and will not be overwritten; choose another name"
        )


def _is_figure(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return str(image.info.get("Software", "")).startswith("glassplate")
    except OSError:
        return False


def draw_recovery(injection: Injection, target: Path) -> Path:
    """Draw completeness, flux, scatter, shift, width and purity by signal to noise, and some of the sources.

    An existing file is replaced only if it is such a figure.

    Raises
    ------
    UsageError
        If the name is not suitable.
    """
    check_figure(target)
    width, height = PLOT
    size = (3 * width, HEAD + 2 * height + HEAD + 4 * (STAMP + GAP) + GAP)
    canvas = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(canvas)
    _legend(pen, injection.recovery)
    for place, plot in enumerate(_plots(injection.recovery)):
        _draw_plot(pen, plot, (place % 3 * width, HEAD + place // 3 * height))
    _draw_sources(canvas, pen, injection, HEAD + 2 * height)
    text = PngInfo()
    text.add_text("Software", f"glassplate assess --inject {injection.recovery.requested}")
    with replacing(target, target.with_name(f".{target.name}.partial")) as partial:
        canvas.save(partial, "PNG", pnginfo=text)
    return target


def _legend(pen: ImageDraw.ImageDraw, recovery: Recovery) -> None:
    name = Path(recovery.store).name
    pen.text(
        (12, 8),
        f"{name}: {recovery.sources} sources by signal to noise",
        fill=BLACK,
        font=_font(LETTERS),
    )
    x = 3 * PLOT[0] - 470
    for label, colour, filled in (
        ("points, input", BEFORE, True),
        ("result", AFTER, True),
        ("galaxies, input", BEFORE, False),
        ("result", AFTER, False),
    ):
        _mark(pen, x, 16, colour, filled)
        pen.text((x + 10, 8), label, fill=BLACK, font=_font(SMALL))
        x += 24 + int(pen.textlength(label, font=_font(SMALL)))


def _plots(recovery: Recovery) -> list[_Plot]:
    rows = recovery.rows

    def plot(
        title: str,
        value: Callable[[Recovered], float | None],
        limits: tuple[float, float],
        expected: float | None,
    ) -> _Plot:
        series = tuple(
            _series(rows, kind, which, value) for kind in KINDS for which in ("before", "after")
        )
        return _with_room(_Plot(title, *limits, expected, series))

    purity = tuple(
        _Series(
            tuple(
                (place, value)
                for place, row in enumerate(recovery.purity)
                if (value := row.before if which == "before" else row.after) is not None
            ),
            BEFORE if which == "before" else AFTER,
            filled=True,
        )
        for which in ("before", "after")
    )
    return [
        plot("completeness", lambda one: one.completeness, (0, 1.05), 1.0),
        plot("flux, measured / true", lambda one: 1 + one.flux_bias, (0.8, 1.2), 1.0),
        plot("scatter of the flux / true", lambda one: one.flux_scatter, (0, 0.3), None),
        plot("shift, pixels", lambda one: one.shift, (0, 1), None),
        plot("width / true", lambda one: one.width, (0.8, 1.2), 1.0),
        _Plot("purity, both kinds", 0, 1.05, 1.0, purity),
    ]


def _series(
    rows: Sequence[RecoveryRow],
    kind: Kind,
    which: str,
    value: Callable[[Recovered], float | None],
) -> _Series:
    points = tuple(
        (SIGNIFICANCES.index(row.significance), found)
        for row in rows
        if row.kind == kind
        and (found := value(row.before if which == "before" else row.after)) is not None
    )
    return _Series(points, BEFORE if which == "before" else AFTER, filled=kind == "point")


def _with_room(plot: _Plot) -> _Plot:
    """The plot with limits that hold all of its values."""
    values = [value for series in plot.series for _, value in series.points]
    margin = 0.05 * (plot.high - plot.low)
    low = min([plot.low, *(value - margin for value in values)]) if plot.low else plot.low
    high = max([plot.high, *(value + margin for value in values)])
    return _Plot(plot.title, low, high, plot.expected, plot.series)


def _draw_plot(pen: ImageDraw.ImageDraw, plot: _Plot, corner: tuple[int, int]) -> None:
    left, top = corner[0] + LEFT, corner[1] + TOP
    right, bottom = corner[0] + PLOT[0] - 12, corner[1] + PLOT[1] - BOTTOM
    font = _font(SMALL)
    step = (right - left) / len(SIGNIFICANCES)

    def row(value: float) -> float:
        return bottom - (value - plot.low) / (plot.high - plot.low) * (bottom - top)

    for value in _ticks(plot.low, plot.high):
        pen.line((left, row(value), right, row(value)), fill=GREY)
        label = f"{value:.2f}"
        pen.text(
            (left - 6 - pen.textlength(label, font=font), row(value) - 7),
            label,
            fill=BLACK,
            font=font,
        )
    if plot.expected is not None:
        pen.line((left, row(plot.expected), right, row(plot.expected)), fill=BLACK)
    pen.rectangle((left, top, right, bottom), outline=BLACK)
    pen.text((left, corner[1] + 8), plot.title, fill=BLACK, font=_font(LETTERS))
    for place, significance in enumerate(SIGNIFICANCES):
        x = left + (place + 0.5) * step
        label = str(significance)
        pen.text(
            (x - pen.textlength(label, font=font) / 2, bottom + 4), label, fill=BLACK, font=font
        )
    for number, series in enumerate(plot.series):
        # beside each other, so that none hides another
        shift = (number - (len(plot.series) - 1) / 2) * step / 6
        for place, value in series.points:
            x = left + (place + 0.5) * step + shift
            _mark(pen, x, row(value), series.colour, series.filled)


def _ticks(low: float, high: float) -> FloatArray:
    """Round values between two limits, at most seven."""
    step = next(step for step in STEPS if (high - low) / step <= 6)
    return np.arange(math.ceil(low / step), math.floor(high / step) + 1, dtype=np.float64) * step


def _mark(pen: ImageDraw.ImageDraw, x: float, y: float, colour: Colour, filled: bool) -> None:
    pen.ellipse(
        (x - 5, y - 5, x + 5, y + 5), fill=colour if filled else "white", outline=colour, width=2
    )


def _draw_sources(
    canvas: Image.Image, pen: ImageDraw.ImageDraw, injection: Injection, top: int
) -> None:
    """A source of each kind and signal to noise, the input above the result."""
    rows = slice(None, None, -1 if injection.from_bottom else 1)
    left = LEFT + 100
    for place, significance in enumerate(SIGNIFICANCES):
        x = left + place * (STAMP + GAP)
        pen.text((x, top + 8), f"S/N {significance}", fill=BLACK, font=_font(SMALL))
        for row, kind in enumerate(KINDS):
            chosen = [
                one
                for one in injection.pixels
                if (one.source.kind, one.source.significance) == (kind, significance)
            ]
            y = top + HEAD + 2 * row * (STAMP + GAP)
            if chosen:
                given, restored = chosen[0].given[rows], chosen[0].restored[rows]
                canvas.paste(_stamp(given, given), (x, y))
                canvas.paste(_stamp(restored, given), (x, y + STAMP + GAP))
    for row, label in enumerate(("point, input", "result", "galaxy, input", "result")):
        y = top + HEAD + row * (STAMP + GAP) + STAMP // 2 - 7
        width = pen.textlength(label, font=_font(SMALL))
        pen.text((left - 10 - width, y), label, fill=BLACK, font=_font(SMALL))


def _stamp(values: FloatArray, like: FloatArray) -> Image.Image:
    """Draw the middle of a square between the limits of the input's middle, black and white."""
    edge = len(values) // 5
    values, like = (one[edge:-edge, edge:-edge] for one in (values, like))
    # the brightest pixels are those of the source, since its place was empty
    middle = len(like) // 4
    low = np.percentile(like, 5)
    high = like[middle:-middle, middle:-middle].max()
    share = ((values - low) / max(high - low, 1e-30)).clip(0, 1)
    grey = Image.fromarray(np.rint(255 * share).astype(np.uint8)).convert("RGB")
    return grey.resize((STAMP, STAMP), Image.Resampling.NEAREST)


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
