"""Assessment of a result by itself: nothing but the result is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from glassplate.pipeline.assess.background import Background, measure_background
from glassplate.pipeline.assess.causes import likely_causes
from glassplate.pipeline.assess.fadgi import FadgiRow, fadgi_rows
from glassplate.pipeline.assess.photograph import Photograph, measure_photograph
from glassplate.pipeline.assess.residual import Residual, measure_residual
from glassplate.pipeline.assess.result import AssessedResult
from glassplate.pipeline.assess.seams import Seams, measure_seams


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """What a result shows about itself."""

    store: str
    """The result, as the user names it."""
    task: str
    """Task of its recipe."""
    unit: str | None
    """Unit of the pixels; None if the input states none."""
    background: Background | None
    """None where the result is not on the grid of the input, or is sharper."""
    residual: Residual
    seams: Seams | None
    """None where no two fitted tiles touch."""
    photograph: Photograph | None
    """None unless the image is grey or RGB of integers, and on the grid of the input."""
    fadgi: tuple[FadgiRow, ...]
    """Empty without `photograph`."""
    causes: tuple[str, ...]
    """A sentence for each figure that is far from what is expected, with its likely cause."""


def assess_result(store: Path) -> Assessment:
    """Measure background, residual, seams and, for photographs, tone, colour, edges and noise.

    The image is read cell by cell, so that memory does not grow with it.

    Parameters
    ----------
    store
        A result whose run has ended. Its input is not needed.

    Raises
    ------
    StoreError
        If there is no such result, its run has not ended, or an array is missing.
    """
    result = AssessedResult(store)
    background = measure_background(result)
    residual = measure_residual(result, background)
    seams = measure_seams(result, background)
    photograph = measure_photograph(result)
    return Assessment(
        store=str(store),
        task=result.manifest.recipe["task"],
        unit=result.unit,
        background=background,
        residual=residual,
        seams=seams,
        photograph=photograph,
        fadgi=() if photograph is None else fadgi_rows(photograph),
        causes=likely_causes(background, residual, seams, photograph, denoised=result.was_denoised),
    )
