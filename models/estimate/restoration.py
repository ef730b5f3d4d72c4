"""The restoration of one window: its pixels, their uncertainty, and how the fits went."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from glassplate.models.fit.log import Record
from glassplate.models.fit.problem import FloatArray, Measurement, Problem


@dataclass(frozen=True)
class Restoration:
    """The restoration of one window, from one fit or from an ensemble of fits."""

    values: FloatArray
    """(c, h scale, w scale) float32, source units, finite everywhere, invalid pixels included."""
    uncertainty: FloatArray | None
    """(c, h scale, w scale) float32, source units, where asked for: standard deviation of the error."""
    log: tuple[Record, ...]
    """Of an ensemble, the members' logs one after the other."""
    iterations: int
    """Optimiser steps taken; of an ensemble, by all members."""
    best_iteration: int
    """Step whose average is the answer; of an ensemble, the first member's."""
    stop_reason: str
    """"held-out minimum", "chi2 reached", "iteration cap", "predicted" (nothing was learnt) or "no valid
    pixels"; of an ensemble, the first member's."""
    heldout_loss: float
    """As in `Record`, of the average that is the answer; of an ensemble, the members' mean."""
    chi2: float
    """Mean square of what was removed over the variance of the noise, valid pixels; NaN without noise. About
    1 where all noise and nothing else was removed."""
    guarded: int
    """Valid pixels that the guard on faint sources gave back."""
    whiteness: float
    """Lag-1 autocorrelation of that average's residual in units of the noise; 0 if only white noise was
    removed."""
    slots: int
    """Fits that might advance together: `Numerics.stack`, or fewer where memory had run out. Of an
    ensemble, the fewest."""
    seconds: float
    """From the beginning of the fit to its end; of an ensemble, the members' sum."""


def without_valid_pixels(measurement: Measurement, problem: Problem) -> Restoration:
    """Restore a window that has no valid pixel: the transform's offset everywhere, nothing fitted."""
    c, h, w = measurement.values.shape
    scale, nan = problem.operator.scale, math.nan
    values = np.full((c, h * scale, w * scale), problem.transform.offset, np.float32)
    return Restoration(
        values=values,
        uncertainty=np.full_like(values, nan) if problem.fit.uncertainty else None,
        log=(),
        iterations=0,
        best_iteration=0,
        stop_reason="no valid pixels",
        heldout_loss=nan,
        chi2=nan,
        guarded=0,
        whiteness=nan,
        slots=0,
        seconds=0.0,
    )
