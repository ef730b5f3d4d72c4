"""The spectrum of the noise that was found, drawn as lines of an SVG."""

from __future__ import annotations

import numpy as np

from glassplate.models.noise.description import LEAST_COLOUR, NoiseDescription
from glassplate.models.noise.noise_spectrum import FREQUENCIES
from glassplate.pipeline.pages.curves import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Plot,
    Tick,
    axis_marks,
    round_numbers,
)
from glassplate.pipeline.text import number

# Ratio of the power of the longest and the shortest waves up to which noise is called white.
NEARLY_WHITE = 1.5
# Decades of power that are drawn: what lies further below the strongest is drawn at the bottom.
DECADES = 4.0


def noise_plot(found: NoiseDescription | None) -> Plot | None:
    """Draw the power of the noise at each frequency; None if no spectrum was recorded.

    The thick line is the brightness, a dashed one the colours; the grid has the unit of the image squared.
    """
    if found is None or not found.power or found.sigma == 0:
        return None
    # the share of a component in the variance is spread over the frequencies as its power is
    lines = [np.asarray(found.power) * found.brightness**2]
    if (
        found.colour is not None
        and found.colour > LEAST_COLOUR * found.sigma
        and found.colour_power
    ):
        lines.append(np.asarray(found.colour_power) * found.colour**2)
    with np.errstate(divide="ignore"):
        logs = [np.log10(line) for line in lines]
    top = max(float(log.max()) for log in logs)
    bottom = max(min(float(log.min()) for log in logs), top - DECADES)
    bottom, top = bottom - 0.1, top + 0.1
    points = [_points(log, bottom, top) for log in logs]
    return Plot(
        title="Spectrum of the noise",
        words=" ".join(_words(found, coloured=len(lines) > 1)),
        lines=tuple(points[1:]),
        middle=points[0],
        x_ticks=tuple(Tick(_x(place), f"{place:g}") for place in round_numbers(0, FREQUENCIES[-1])),
        y_ticks=tuple(
            Tick(_y(place, bottom, top), text)
            for place, text in axis_marks(bottom, top, logarithmic=True)
        ),
    )


def _words(found: NoiseDescription, *, coloured: bool) -> list[str]:
    """What the plot shows, in sentences."""
    unit = f" {found.unit}" if found.unit else ""
    words = [
        "Power of the noise at each frequency, in cycles a pixel: 0.5 are waves of two pixels."
    ]
    if coloured:
        words.append(
            f"The thick line is the brightness ({number(found.brightness)}{unit}), the dashed one the "
            f"colours ({number(found.colour)}{unit})."
        )
    kind = "The noise of the brightness" if coloured else "The noise"
    long, short = found.power[0], found.power[-1]
    if long > NEARLY_WHITE * short:
        words.append(f"{kind} is smooth: {_compared('long', long, 'short', short)}.")
    elif short > NEARLY_WHITE * long:
        words.append(f"{kind} is fine: {_compared('short', short, 'long', long)}.")
    else:
        words.append(f"{kind} is about as strong at all frequencies, as white noise is.")
    return words


def _compared(name: str, more: float, other: str, less: float) -> str:
    ratio = more / less if less > 0 else np.inf
    times = (
        f"{ratio:.{0 if ratio >= 10 else 1}f}"
        if ratio < 10**DECADES
        else f"more than {10**DECADES:.0f}"
    )
    return f"the {name}est waves have {times} times the power of the {other}est"


def _x(frequency: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * frequency / FREQUENCIES[-1]


def _y(log: float, bottom: float, top: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (log - bottom) / (top - bottom))


def _points(logs: np.ndarray, bottom: float, top: float) -> str:
    return " ".join(
        f"{_x(frequency):.1f},{_y(max(float(log), bottom), bottom, top):.1f}"
        for frequency, log in zip(FREQUENCIES, logs, strict=True)
    )
