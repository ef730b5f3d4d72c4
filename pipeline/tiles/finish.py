"""From blended estimates to stored pixels, and to the residual: what was removed from the input."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from glassplate.models.colour import add_chroma
from glassplate.models.operators.operator import Operator
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.sources.source import Pixels
from glassplate.pipeline.tiles.kept_rays import kept_rays


def finish(plan: Plan, restored: npt.NDArray[np.float64], pixels: Pixels) -> npt.NDArray[Any]:
    """Turn blended estimates into stored pixels: apply the flux factor, set invalid pixels, round.

    Parameters
    ----------
    restored
        ``(c, h, w)`` in the units of `pixels`; NaN where no tile contributed.
    pixels
        The input under the same region, ``(c, h / scale, w / scale)``.

    Returns
    -------
    final
        ``(c, h, w)`` in the result's dtype, source units. Pixels without an estimate are NaN, or the input's
        own value where the dtype is an integer: those to which no tile contributed, and invalid ones that
        the recipe does not fill. Pixels that alpha hides and saturated ones keep the input's value. In task
        ``inpaint`` valid pixels are the input's own, too, and so are those of `kept_rays` in every task.
    """
    scale, dtype = plan.layout.scale, np.dtype(plan.layout.dtype)
    valid = enlarged(pixels.valid, scale)
    final = restored * plan.flux_factor
    if plan.recipe.traits.fills_only:
        final[valid] = pixels.values[valid]
    elif not plan.fits:
        # copies of the input: blending them would round
        copied = valid & np.isfinite(final)
        final[copied] = pixels.values[copied]
    if plan.recipe.traits.denoises:
        final = _near_measurement(plan, final, pixels)
    if plan.white is not None:
        final = _coloured(plan, plan.white, restored, pixels)
    kept = kept_rays(plan, restored, pixels)
    if kept.any():
        final[kept] = pixels.values[kept]
    unknown = np.isnan(final)
    unknown |= ~valid & ~enlarged(plan.to_fill(pixels), scale)
    for left in (pixels.hidden, pixels.saturated):
        if left is not None:
            here = left if left.ndim == 3 else left[None]
            as_given = np.broadcast_to(enlarged(here, scale), final.shape)
            final[as_given] = _input_values(plan, pixels)[as_given]
            unknown &= ~as_given
    if dtype.kind == "f":
        final[unknown] = np.nan
        return _in_source_units(plan, final).astype(dtype)
    final[unknown] = _input_values(plan, pixels)[unknown]
    final = _in_source_units(plan, final)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(final), limits.min, limits.max).astype(dtype)


def _in_source_units(plan: Plan, final: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Restored values in the source's own units; the flux factor is of the pedestal, too."""
    stated: npt.NDArray[np.float64] = plan.differences_in_source_units(final)
    pedestal = plan.findings.pedestal * plan.flux_factor
    return stated + pedestal if pedestal else stated


def _input_values(plan: Plan, pixels: Pixels) -> npt.NDArray[np.float64]:
    """The input's own values on the grid of the result, ``(c, h, w)``."""
    given: npt.NDArray[np.float64] = enlarged(pixels.values, plan.layout.scale) * plan.flux_factor
    return given


def _near_measurement(
    plan: Plan, restored: npt.NDArray[np.float64], pixels: Pixels
) -> npt.NDArray[np.float64]:
    """Mix a share of the noise back, and clamp to the measurement, as the recipe's output says."""
    output, y = plan.recipe.output, pixels.values
    near = restored
    if output.grain:
        near = near + output.grain * (y - near)
    if output.clamp:
        variance = (
            plan.noise.pixel_variance(restored) if pixels.variance is None else pixels.variance
        )
        most = output.clamp * np.sqrt(variance)
        near = np.clip(near, y - most, y + most)
    return near if near is restored else np.where(pixels.valid, near, restored)


def _coloured(
    plan: Plan, white: float, restored: npt.NDArray[np.float64], pixels: Pixels
) -> npt.NDArray[np.float64]:
    """Red, green and blue of L, a, b ``(3, h, w)``; the lightness is that of the photograph."""
    grey, chroma = plan.grey_of(pixels), np.nan_to_num(restored[1:])
    return np.where(np.isnan(restored), np.nan, white * add_chroma(grey, chroma))


def uncertainty_of(
    plan: Plan, blended: npt.NDArray[np.float64], pixels: Pixels
) -> npt.NDArray[np.float32]:
    """Standard deviation of the result of `finish`, ``(c, h, w)``; NaN where that is no estimate."""
    unknown = enlarged(~pixels.valid & ~plan.to_fill(pixels), plan.layout.scale)
    stated = plan.differences_in_source_units(blended * plan.flux_factor)
    return np.where(unknown, np.nan, stated).astype(np.float32)


def enlarged(values: npt.NDArray[Any], scale: int) -> npt.NDArray[Any]:
    """Each pixel of ``(c, h, w)`` repeated `scale` times along both axes."""
    return values if scale == 1 else values.repeat(scale, axis=1).repeat(scale, axis=2)


def residual_of(
    final: npt.NDArray[Any], given: npt.NDArray[np.floating], pixels: Pixels, dtype: str
) -> npt.NDArray[Any]:
    """Input minus restored; for floats NaN where the input is invalid, but not saturated nor a defect."""
    if np.dtype(dtype).kind == "f":
        difference = given.astype(np.float64) - final
        known = pixels.valid if pixels.found is None else pixels.valid | pixels.found
        if pixels.saturated is not None:
            known = known | pixels.saturated
        return np.where(known, difference, np.nan).astype(dtype)
    # the mean of several exposures need not be an integer
    whole = np.rint(given).astype(np.int64) - final.astype(np.int64)
    residual: npt.NDArray[Any] = whole.astype(dtype)
    return residual


def apply_operator(
    operator: Operator, restored: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """``A x``, ``(c, h, w)`` of ``(c, H, W)``; NaN exactly where a pixel within reach of A is NaN.

    Without this an FFT would spread a single NaN of a quarantined tile over the whole strip.
    """
    import torch
    import torch.nn.functional as F

    estimate = torch.from_numpy(restored)[None]  # (1, C, H, W)
    unknown = estimate.isnan()
    measured = operator.forward(torch.where(unknown, 0, estimate))[0]  # (C, h, w)
    if unknown.any():
        m = operator.support
        wide = F.pad(unknown.float(), (m, m, m, m))
        needed = F.max_pool2d(wide, operator.scale + 2 * m, stride=operator.scale)  # (1, C, h, w)
        measured[needed[0] > 0] = torch.nan
    result: npt.NDArray[np.float64] = measured.numpy()
    return result
