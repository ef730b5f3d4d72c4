"""The pictures of a trial: each window before, after each recipe, and what was removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from glassplate.pipeline.pages.drawing import (
    REMOVED_SIGMAS,
    Picture,
    Stretch,
    choose_stretch,
    picture,
    removed_picture,
)
from glassplate.pipeline.pages.shown_result import SHOWN_PLANES, Colours, FloatArray, colours_of
from glassplate.pipeline.pages.trial.fits import Tried
from glassplate.pipeline.pages.trial.sheet import Column, Row
from glassplate.pipeline.pages.trial.windows import TrialWindow
from glassplate.pipeline.sources.source import Source, white_value
from glassplate.pipeline.store.row_order import first_row_is_lowest

# The median size of normal deviates times this is their standard deviation.
MEDIAN_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class ShownInput:
    """How an input is drawn; see `Drawable`."""

    colours: Colours
    is_photograph: bool
    white: float
    first_row_is_lowest: bool

    @classmethod
    def of(cls, source: Source) -> ShownInput:
        """Of a source whose colours are without alpha."""
        return cls(
            colours=colours_of(source.metadata, source.shape[0], joint=source.joint),
            is_photograph=source.output_dtype.kind in "iu" and "fits" not in source.metadata,
            white=white_value(source.output_dtype, source.metadata),
            first_row_is_lowest=first_row_is_lowest(source.metadata),
        )


def trial_rows(
    shown: ShownInput,
    windows: Sequence[TrialWindow],
    tried: Mapping[str, Mapping[TrialWindow, Tried]],
    strengths: Sequence[float],
) -> tuple[list[Column], list[Row], str]:
    """The columns, a row of pictures for each window, and what the greys mean.

    Parameters
    ----------
    tried
        For each recipe the windows that it restored; the first recipe is shown at each strength.
    strengths
        At least one.

    Returns
    -------
    columns
        The input; then for each recipe what it restored, and after it what it removed.
    rows
        A window that a recipe could not restore has no picture there, and no row if none could.
    words
        One line.
    """
    first, *others = tried
    columns = [Column("input", "input")]
    columns += [Column(f"{first}, strength {strength:g}", "restored") for strength in strengths]
    columns += [Column(f"removed by {first}", "removed")]
    for name in others:
        columns += [Column(name, "restored"), Column(f"removed by {name}", "removed")]
    before = [one.before for found in tried.values() for one in found.values()]
    removed = [one.removed for found in tried.values() for one in found.values()]
    sigma = _sigma(removed)
    stretch = choose_stretch(
        shown, np.concatenate([_seen(shown, one).ravel() for one in before]), sigma
    )
    rows = []
    for window in windows:
        here = [found.get(window) for found in tried.values()]
        given = next((one.before for one in here if one is not None), None)
        if given is None:
            continue
        pictures: list[Picture | None] = [_drawn(shown, given, stretch)]
        for place, one in enumerate(here):
            for strength in strengths if place == 0 else (1.0,):
                after = None if one is None else one.at_strength(strength)
                pictures.append(None if after is None else _drawn(shown, after, stretch))
            pictures.append(
                None if one is None else removed_picture(shown, _seen(shown, one.removed), sigma)
            )
        rows.append(Row(_caption(window), pictures))
    most = f"{REMOVED_SIGMAS * sigma:.3g}"
    words = (
        f"in the images {stretch.words}; in what was removed grey is nothing, white is {most} and black "
        f"-{most}"
    )
    return columns, rows, words


def _drawn(shown: ShownInput, values: FloatArray, stretch: Stretch) -> Picture:
    return picture(shown, _seen(shown, values), stretch)


def _seen(shown: ShownInput, values: FloatArray) -> FloatArray:
    """The planes that are shown."""
    return values[: SHOWN_PLANES[shown.colours]]


def _sigma(removed: Sequence[FloatArray]) -> float:
    """Standard deviation of what was removed, by which it is drawn; a few filled pixels decide nothing."""
    sizes = np.concatenate([np.abs(one[np.isfinite(one)]) for one in removed])
    return MEDIAN_TO_SIGMA * float(np.median(sizes)) if sizes.size else 0.0


def _caption(window: TrialWindow) -> str:
    box = window.box
    return f"{window.name}: rows {box.y0} to {box.y1 - 1}, columns {box.x0} to {box.x1 - 1}"
