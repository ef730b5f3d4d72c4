"""Whether a restored window can be right: finite, and nowhere further from the measurement than noise is.

A fit that went wrong without diverging gives black or blown areas, a level that moved, or a border that is
off. None of these may reach the blend in silence.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from glassplate.models.metrics import mad_sigma
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.sources.source import Pixels
from glassplate.pipeline.tiles.finish import apply_operator

FloatArray = npt.NDArray[np.floating]

# Side of the blocks whose mean is compared, pixels; of a window whose side is no multiple, the last ones
# overlap those before, so that each border is compared too.
BLOCK = 16
# Share of a block that must be valid.
LEAST_VALID = 0.5
# Shift of a block's mean, and of the window's, in standard deviations of one pixel's noise, from which a
# restoration is impossible. In restorations of DECam, XMM, Horsehead, Kodak and M13 a block is off by 0.5 at
# most and the whole by 0.15; after six iterations a small window by 1.2.
MOST_SHIFT, MOST_LEVEL = 8.0, 3.0
# Share of a block's own light, above or below the median of the window, that it may be off besides: under a
# point-spread function that is not quite right, a bright star is off by more than the noise of its sky.
MOST_SHARE = 0.25


def implausible(plan: Plan, pixels: Pixels, values: FloatArray) -> str | None:
    """Say in one line why a restored window cannot be right; None where nothing speaks against it.

    Parameters
    ----------
    plan
        Its noise is the unit of the comparison, or the scatter between neighbouring pixels of the measurement
        where that is larger. Tasks whose values are no measurements are only checked for finite values.
    pixels
        The measurement of the window, ``(c, h, w)``.
    values
        The restoration, ``(c, h * scale, w * scale)``, in the units of `pixels`.
    """
    broken = int((~np.isfinite(values)).sum())
    if broken:
        return f"{broken} of {values.size} restored values are not finite"
    if not plan.recipe.traits.measures or plan.recipe.traits.fills_only:
        return None
    seen = values.astype(np.float64)
    if plan.layout.mixes:
        seen = apply_operator(plan.operator, seen)  # (c, h, w)
    for channel in range(len(seen)):
        valid = pixels.valid[channel]
        residual = np.where(
            valid, pixels.values[channel].astype(np.float64) - seen[channel], math.nan
        )
        unit = _unit(plan, pixels, seen[channel], channel)
        level = float(np.nanmean(residual)) / unit if valid.any() and unit > 0 else 0.0
        if abs(level) > MOST_LEVEL:
            return (
                f"channel {channel} is {-level:+.2g} times the noise off its measured level on the whole, "
                f"at most {MOST_LEVEL:g} is possible"
            )
        measured = np.where(valid, pixels.values[channel], math.nan)
        block = _worst_block(residual, measured)
        if unit > 0 and block is not None and block.excess > MOST_SHIFT * unit:
            return (
                f"channel {channel} is {-block.shift / unit:+.2g} times the noise off its measured level in "
                f"the {BLOCK}x{BLOCK} pixels from row {block.row}, column {block.column} of the window, at "
                f"most {MOST_SHIFT:g} and {MOST_SHARE:.0%} of its light are possible"
            )
    return None


def _unit(plan: Plan, pixels: Pixels, seen: FloatArray, channel: int) -> float:
    """Standard deviation of one pixel's noise, in the units of the window; 0 where none is known."""
    noise = plan.noise.of_channel(channel)
    variance = noise.variance(seen) if pixels.variance is None else pixels.variance[channel]
    valid = pixels.valid[channel]
    known = variance[valid & np.isfinite(variance)]
    modelled = math.sqrt(float(known.mean())) if known.size else 0.0
    scatter = mad_sigma(np.where(valid, pixels.values[channel], math.nan))
    return max(modelled, scatter if math.isfinite(scatter) else 0.0)


class _Block(NamedTuple):
    """A block of a window."""

    excess: float
    """Shift beyond the share of the block's light that it may be off."""
    shift: float
    """Mean of measurement minus restoration."""
    row: int
    column: int


def _worst_block(residual: FloatArray, measured: FloatArray) -> _Block | None:
    """The block that is furthest off, of ``(h, w)``, NaN invalid; None where none has enough valid pixels."""
    height, width = residual.shape
    level = float(np.nanmedian(measured)) if np.isfinite(measured).any() else 0.0
    found = []
    for y in _starts(height):
        for x in _starts(width):
            place = np.s_[y : y + BLOCK, x : x + BLOCK]
            known = np.isfinite(residual[place])
            if known.sum() < LEAST_VALID * known.size:
                continue
            shift = float(residual[place][known].mean())
            light = float(measured[place][known].mean()) - level
            found.append(_Block(abs(shift) - MOST_SHARE * abs(light), shift, y, x))
    return max(found, default=None)


def _starts(length: int) -> list[int]:
    """Where the blocks of an axis begin; the last one ends at its end."""
    last = max(length - BLOCK, 0)
    return [*range(0, last, BLOCK), last]
