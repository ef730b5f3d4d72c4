"""How much neighbouring tiles of a result disagree where they are blended."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr

from glassplate.pipeline.assess.background import Background
from glassplate.pipeline.assess.result import AssessedResult, rounded
from glassplate.pipeline.errors import StoreError


@dataclass(frozen=True)
class Seams:
    """Differences of overlapping tiles where both have blend weight (the map quality/seam)."""

    tiles: int
    """Tiles with a neighbour to the right or below."""
    median: float
    """Median over these tiles of the root mean square difference, source units."""
    highest: float
    """The largest of them, source units."""
    highest_at: tuple[int, int]
    """First row and column of that tile's core, pixels of the input."""
    share_of_noise: float | None
    """`median` over the standard deviation of the input's noise. Well below 1, no seam can be seen. None if
    no noise is known."""


def measure_seams(result: AssessedResult, background: Background | None) -> Seams | None:
    """Read the seam scores of the tiles; None where no two fitted tiles touch."""
    try:
        seam: zarr.Array[Any] = zarr.open_array(result.store / "quality" / "seam", mode="r")
    except (FileNotFoundError, ValueError) as error:
        raise StoreError(
            f"{result.store}: the map quality/seam is missing; `glassplate verify` it"
        ) from error
    scores = np.asarray(seam[...], np.float64)  # (group, row, col)
    known = np.isfinite(scores)
    if not known.any():
        return None
    _, row, col = np.unravel_index(int(np.nanargmax(scores)), scores.shape)
    _, rows, cols = scores.shape
    _, height, width = result.shape
    median, noise = float(np.median(scores[known])), _noise(result, background)
    return Seams(
        tiles=int(known.sum()),
        median=rounded(median) or 0.0,
        highest=rounded(float(scores[known].max())) or 0.0,
        highest_at=(int(row) * height // rows, int(col) * width // cols),
        share_of_noise=rounded(median / noise) if noise else None,
    )


def _noise(result: AssessedResult, background: Background | None) -> float | None:
    """Standard deviation of the input's noise at its background."""
    if background is not None and background.noise_before:
        if result.noise is not None and background.level_before is not None:
            return math.sqrt(float(result.noise.variance(np.float64(background.level_before))))
        return background.noise_before
    summary = result.manifest.summary
    return None if summary is None else summary.noise_before
