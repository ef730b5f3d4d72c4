"""The background of an image before and after its restoration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.assess.blocks import sampled_blocks
from glassplate.pipeline.assess.result import AssessedResult, rounded

FloatArray = npt.NDArray[np.float64]

# Standard deviations from the median beyond which a pixel is no background, and rounds of this clipping.
CLIP, ROUNDS = 3.0, 3
# Fewest background pixels of a block.
FEWEST = 64


@dataclass(frozen=True)
class Background:
    """Level and scatter of the background, source units: medians over up to 1024 blocks of 64 x 64 pixels.

    The background of a block are the pixels of the input within three standard deviations of their median.
    The same pixels are compared in the result.
    """

    blocks: int
    """Blocks that were compared; those with fewer than 64 background pixels are left out."""
    level_before: float | None
    """Median of the input; None here and below if no block was compared."""
    level_after: float | None
    """Median of the result."""
    noise_before: float | None
    """Standard deviation of the input."""
    noise_after: float | None
    """Standard deviation of the result. Its noise is correlated: errors of sums cannot be derived from it."""
    shift: float | None
    """Mean of result minus input, in standard deviations of the input; 0 is expected."""


def measure_background(result: AssessedResult) -> Background | None:
    """Measure the background; None where the result is not on the grid of the input, or is sharper."""
    if not result.same_grid:
        return None
    rows = []
    for box in sampled_blocks(result.shape):
        region = result.read(box)
        for given, estimate, known in zip(region.given, region.estimate, region.known, strict=True):
            quiet = _background_pixels(given[known])
            if quiet.sum() >= FEWEST:
                rows.append(_row(given[known][quiet], estimate[known][quiet]))
    before, after, noise, left, shift = np.median(rows, axis=0) if rows else np.full(5, np.nan)
    return Background(
        blocks=len(rows),
        level_before=rounded(before, 7),
        level_after=rounded(after, 7),
        noise_before=rounded(noise),
        noise_after=rounded(left),
        shift=rounded(shift),
    )


def _background_pixels(values: FloatArray) -> npt.NDArray[np.bool_]:
    """Which of the pixels ``(n,)`` of a block are background."""
    quiet = np.ones(values.shape, bool)
    for _ in range(ROUNDS):
        if not quiet.any():
            break
        middle, spread = np.median(values[quiet]), values[quiet].std()
        quiet = np.abs(values - middle) <= CLIP * spread
    return quiet


def _row(given: FloatArray, estimate: FloatArray) -> tuple[float, float, float, float, float]:
    noise = float(given.std())
    moved = float((estimate - given).mean())
    return (
        float(np.median(given)),
        float(np.median(estimate)),
        noise,
        float(estimate.std()),
        moved / noise if noise > 0 else 0.0,
    )
